"""`preflens analyze` hands every option on."""

from preflens.analysis.options import DataOptions, RunOptions, StepOptions


def test_defaults_of_the_command_are_those_of_the_function_except_what_steps(called, tmp_path):
    (model, _, pairs), options, label = called("analyze")
    assert (model, pairs) == ("m", ("d", {"split": None, "config": None, "on_bad_row": "stop"}))
    assert options["data"] == DataOptions()
    assert options["step"] == StepOptions(trainable="all")
    assert options["run"] == RunOptions(out=tmp_path / "out")
    assert (options["verify_batches"], options["reference"]) == (0, "self")
    assert [o.name for o in options["objectives"]] == ["dpo"]
    assert label.model_name == "m"
    assert label.command.startswith("preflens analyze --model m --data d --out ")


def test_options_reach_the_function(called, tmp_path):
    _, options, _ = called(
        "analyze", "--adapter", "a", "--limit", 3, "--max-length", 20, "--seed", 4, "--update-batch-size", 2,
        "--learning-rate", 0.5, "--verify", 7, "--micro-batch", 5, "--discard", "--no-progress", "--objective",
        "simpo:beta=2", "--objective", "slic",
    )  # fmt: skip
    assert options["data"] == DataOptions(limit=3, max_length=20, seed=4)
    assert options["step"] == StepOptions(trainable="lora", update_batch_size=2, learning_rate=0.5)
    assert options["run"] == RunOptions(out=tmp_path / "out", micro_batch=5, discard=True, progress=False)
    assert options["verify_batches"] == 7
    assert [o.name for o in options["objectives"]] == ["simpo", "slic"]
