"""`preflens compare` hands every option on."""

from preflens.analysis.options import ComparisonOptions, StepOptions


def test_defaults_of_the_command_are_those_of_the_function_except_what_steps(called):
    _, options, _ = called("compare")
    assert options["comparison"] == ComparisonOptions()
    assert options["step"] == StepOptions(trainable="all")
    assert (options["objectives"], options["grid"], options["mitigations"]) == (["all"], [], [])
    assert options["held_out"] is None


def test_options_reach_the_function(called):
    _, options, label = called(
        "compare", "--objectives", "dpo,simpo:beta=2,gamma=1", "--grid", "dpo.beta=1,2", "--mitigation", "cone",
        "--probe", "h", "--probe-split", "test", "--horizon", "5,1", "--margin-gain", 2, "--rollout-pairs", 8,
        "--per-pair", "--verify", "dpo", "--small-steps", 3, "--parameters", "ln_f",
    )  # fmt: skip
    assert options["objectives"] == ["dpo", "simpo:beta=2,gamma=1"]
    assert (options["grid"], options["mitigations"]) == (["dpo.beta=1,2"], ["cone"])
    assert options["held_out"] == ("h", {"split": "test", "on_bad_row": "stop"})
    assert options["comparison"] == ComparisonOptions(
        horizon=(1, 5), margin_gain=2.0, rollout_pairs=8, per_pair=True, verify_objectives=("dpo",), verify_batches=3
    )
    assert options["step"].trainable == "ln_f"
    assert label.command.startswith("preflens compare ")
