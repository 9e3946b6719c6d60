"""Comparing objectives from Python: which pairs are held out, what is refused, what is left as it was."""

import pytest
import torch

import preflens.analysis.comparison.model_queries as module
from preflens import Comparison
from preflens.analysis.comparison.held_out import without_training_pairs
from preflens.cli.terminal.comparison import print_comparison
from preflens.errors import InputError, MissingInputError, ObjectiveError
from preflens.mitigations import CoefficientMap, Mitigated
from preflens.objectives import dpo
from preflens.report.render import report_html
from preflens.types import PairCoefficients
from tests.cases.comparisons import failing, run, shrinking, tokenized, typical, without_gain
from tests.cases.language_models import tiny_lora, tiny_model
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS
from tests.support.model_state import assert_same_state, state


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, float("nan")])
def test_a_share_that_is_none_is_refused(fraction):
    with pytest.raises(InputError, match="`held_out_fraction` should be above 0 and below 1"):
        run(held_out=None, held_out_fraction=fraction)


def test_a_split_that_leaves_a_side_empty_is_refused():
    with pytest.raises(InputError, match="of 1 pairs with 1 different prompts leaves no pair on one side"):
        run(TEXT_ROWS[:1], held_out=None)


def test_held_out_pairs_that_are_training_pairs_are_counted_and_dropped():
    other = TEXT_ROWS[0] | {"id": "other", "rejected": " no"}
    found = run(held_out=[*PROBE_ROWS, *TEXT_ROWS[:2], other], objectives=("dpo",)).metadata.probe
    assert (found.pairs, found.sampled) == (4, 6)
    assert found.dropped == {"also a training pair": 2}
    assert found.noted == {"prompt of a training pair": 1}
    assert len(without_training_pairs(tokenized(PROBE_ROWS), tokenized(TEXT_ROWS))[0]) == len(PROBE_ROWS)


def test_held_out_pairs_that_are_all_training_pairs_are_refused():
    with pytest.raises(InputError, match="All 2 pairs of `held_out` are training pairs"):
        run(held_out=TEXT_ROWS[:2])


def test_without_a_probe_a_share_is_held_out_and_counted():
    metadata = run(held_out=None, held_out_fraction=0.3, objectives=("dpo",)).metadata
    assert (metadata.data.pairs, metadata.probe.pairs, metadata.data.sampled) == (4, 2, 6)
    assert metadata.probe.source == "memory, held out"


def test_notes_of_given_held_out_pairs_leave_out_those_that_are_training_pairs():
    metadata = run(held_out=[*PROBE_ROWS, TEXT_ROWS[3]], objectives=("dpo",)).metadata
    assert metadata.before_split is None
    assert set(metadata.data.noted.values()) == {1}
    assert (metadata.probe.noted, metadata.probe.dropped) == ({}, {"also a training pair": 1})


def test_what_became_of_rows_before_the_split_is_said_in_terminal_and_page(capsys):
    found = run(held_out=None, held_out_fraction=0.3, objectives=("dpo",), max_length=20)
    told = [line for line in terminal_of(found, capsys).splitlines() if line.startswith(("dropped", "noted"))]
    assert told[0] == "dropped (before the split): 1 × prompt fills the maximal length"
    sides = {"training": found.metadata.data, "held out": found.metadata.probe}
    assert told[1:] == [f"noted ({side}): 1 × {what}" for side, metadata in sides.items() for what in metadata.noted]
    page = " ".join(report_html(found).split())
    assert "on neither side: dropped 1 × prompt fills the maximal length." in page


def terminal_of(found, capsys):
    capsys.readouterr()
    print_comparison(found)
    return capsys.readouterr().out


def test_the_record_says_the_real_sizes_of_the_update_batches():
    assert run(update_batch_size=4, objectives=("dpo",)).metadata.update_batches == (3, 3)


def test_all_is_every_entry_that_can_be_used():
    metadata = run(reference="none").metadata
    assert {o.name for o in metadata.objectives} & {"dpo", "ipo", "dpop"} == set()
    assert metadata.left_out["dpo"] == "compares with a reference model, and there is none"
    assert "simpo" in {o.name for o in metadata.objectives}


def test_a_grid_of_its_own_adds_its_objective():
    metadata = run(objectives=("slic",), grid=("dpo.beta=0.1,1",)).metadata
    assert [(o.label, o.in_grid) for o in metadata.objectives] == [("slic", False), ("dpo", True), ("dpo:beta=1", True)]


def test_a_mitigation_is_put_into_what_is_named_or_into_dpo():
    metadata = run(mitigations=("normalized",)).metadata
    assert [o.label for o in metadata.objectives if "+" in o.label] == ["dpo+normalized"]
    metadata = run(
        objectives=("slic", "cpo"), grid=("dpo.beta=1",), mitigations=("normalized", "cone"),
        verify_objectives=("all",), verify_batches=1,
    ).metadata  # fmt: skip
    assert [o.label for o in metadata.objectives] == [
        "slic", "slic+normalized", "slic+cone", "cpo", "cpo+normalized", "cpo+cone", "dpo:beta=1",
    ]  # fmt: skip
    assert [r.objective for r in metadata.real_steps] == ["slic", "cpo", "dpo:beta=1"]  # real steps are plain ones


def halved(name="halved", **parameters):
    """A mitigation of one's own: every coefficient is halved."""

    def full(coefficients, gram, state):  # the names are given
        none = torch.zeros_like(coefficients.chosen, dtype=torch.bool)
        return Mitigated(PairCoefficients(coefficients.chosen / 2, coefficients.rejected / 2), none, state)

    return CoefficientMap(name, full, dpo().source, "pair", parameters=parameters)


def test_a_mitigation_may_be_ones_own():
    maps = (halved(), halved(by=2.0), "normalized")
    metadata = run(objectives=("dpo",), mitigations=maps, learning_rate=0.01).metadata
    plain, half, other, _ = metadata.objectives
    assert [o.label for o in metadata.objectives] == ["dpo", "dpo+halved", "dpo+halved:by=2", "dpo+normalized"]
    for mine in (half, other):
        assert mine.train.chosen.value == pytest.approx(plain.train.chosen.value / 2)
        assert mine.heldout.rejected.value == pytest.approx(plain.heldout.rejected.value / 2)


def test_an_objective_whose_margin_shrinks_is_not_rescaled():
    dpo, other = without_gain().metadata.objectives
    assert dpo.margin.value > 0 > other.margin.value
    assert (dpo.margin_scale > 0, other.margin_scale) == (True, None)
    assert (other.chosen_per_margin.value, other.rejected_per_margin.value) == (None, None)
    assert [t.scale for t in other.trajectories] == ["learning rate"]
    assert [t.scale for t in dpo.trajectories] == ["learning rate", "equal margin"]
    assert other.same_direction_as is None
    assert shrinking().needs_reference


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"reference": "none", "objectives": ("dpo",)}, MissingInputError, "Objective `dpo` compares with a reference"),
        ({"reference": "none", "objectives": ("slic",), "grid": ("ipo.tau=1",)}, MissingInputError, "`ipo:tau=1`"),
        ({"objectives": ()}, ObjectiveError, "No objective was given"),
        ({"objectives": "dpo"}, ObjectiveError, "should be a list of names"),
        ({"objectives": ("dpo", "dpo")}, ObjectiveError, "given twice"),
        ({"grid": ("dpo.beta=",)}, ObjectiveError, "is empty"),
        ({"horizon": ()}, InputError, "`horizon` should hold numbers of steps"),
        ({"horizon": (0, 3)}, InputError, "each at least 1. Found"),
        ({"margin_gain": 0.0}, InputError, "`margin_gain` should be above 0"),
        ({"rollout_pairs": 0}, InputError, "`rollout_pairs` should be at least 1"),
        ({"verify_batches": -1}, InputError, "`verify_batches` should be at least 0"),
        (
            {"verify_objectives": ("nosuch",)},
            InputError,
            "`verify_objectives=nosuch` is none of the compared objectives",
        ),
        ({"learning_rate": 1e300}, InputError, "`learning_rate` should be above 0 and at most 1e.100"),
        ({"learning_rate": -1.0}, InputError, "`learning_rate` should be above 0"),
        ({"mitigations": ("nosuch",)}, InputError, "Unknown mitigation `nosuch`"),
        ({"mitigations": ("splitting",)}, InputError, "`splitting` does more than change coefficients"),
        ({"mitigations": ("sparse_mask",)}, InputError, "Train with it"),
        ({"mitigations": ("cone", "cone:floor=0.1")}, InputError, "Mitigation `cone` was given twice"),
        ({"mitigations": ("cone",), "objectives": (), "grid": ("dpo.beta=1",)}, InputError, "Name one"),
        (
            {"mitigations": ("cone",), "objectives": ("dpo",), "verify_objectives": ("dpo+cone",)},
            InputError,
            "plain steps",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_measured(arguments, error, message, monkeypatch):
    monkeypatch.setattr(module, "batch_geometry", None)
    with pytest.raises(error, match=message):
        run(**arguments)


def test_what_does_not_fit_is_refused_with_a_way_out(monkeypatch):
    monkeypatch.setattr("preflens.analysis.compare.memory_budget", lambda _: 1000.0)
    with pytest.raises(InputError, match="do not fit into the .* GB that may be kept. Let fewer parameters step"):
        run(objectives=("dpo",), micro_batch=2)


@pytest.mark.parametrize("make", [tiny_model, tiny_lora], ids=["gpt2", "lora"])
def test_the_model_is_untouched(make):
    model = make().train()
    before = state(model)
    run(model=model, objectives=("dpo", "slic"), verify_objectives=("dpo",), per_pair=True, learning_rate=1e-2)
    assert_same_state(state(model), before)
    with pytest.raises(RuntimeError, match="midway"):
        run(model=model, objectives=("dpo", failing()))
    assert_same_state(state(model), before)


def test_steps_that_are_too_large_break_the_rollout_off_and_nothing_else():
    found = run(objectives=("ipo",), learning_rate=1e3, horizon=(1, 400), verify_objectives=("ipo",), verify_batches=0)
    path = found.metadata.objectives[0].trajectories[0]
    assert (path.impossible_from, path.broke_off, path.ended) == (1, None, 1)
    assert path.heldout_chosen[0] == 0
    assert set(path.heldout_chosen[1:]) == {None}
    assert [r.rollouts for r in found.metadata.real_steps] == [()]


def test_real_steps_are_recorded_and_agree():
    metadata = typical().metadata
    assert [r.objective for r in metadata.real_steps] == ["dpo", "dpo:beta=0.5", "dpo:beta=1", "slic"]
    for real in metadata.real_steps:
        seen = [s for s in real.small if s.r2_chosen is not None]
        assert seen
        assert all(min(s.r2_chosen, s.r2_rejected, s.r2_margin) > 0.99 for s in seen)
        assert [c.scale for c in real.rollouts][-1] == "equal margin"


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A folder of a run that stopped at its second sweep, and lists of what was computed after that."""
    computed, real = {"geometry": 0, "products": 0}, (module.batch_geometry, module.products_along)

    def geometry(*arguments, **more):
        computed["geometry"] += 1
        return real[0](*arguments, **more)

    def products(*arguments):
        if computed["products"] == 2:
            raise KeyboardInterrupt
        computed["products"] += 1
        return real[1](*arguments)

    monkeypatch.setattr(module, "batch_geometry", geometry)
    monkeypatch.setattr(module, "products_along", products)
    with pytest.raises(KeyboardInterrupt):
        run(out=tmp_path)
    assert computed == {"geometry": 3, "products": 2}
    monkeypatch.setattr(module, "products_along", real[1])
    computed["geometry"] = 0
    return tmp_path, computed


def test_an_interrupted_run_goes_on_and_gives_the_same_numbers(interrupted):
    out, computed = interrupted
    resumed = run(out=out, objectives=("dpo", "slic"), learning_rate=0.1)
    assert computed["geometry"] == 1  # the pairs that are followed
    assert not (out / ".unfinished-compare").exists()
    assert Comparison.load(out).rows.equals(resumed.rows)
    assert resumed.rows.equals(run(objectives=("dpo", "slic"), learning_rate=0.1).rows)


def test_real_steps_and_single_pairs_of_an_interrupted_run_are_not_taken_again(tmp_path, monkeypatch):
    import preflens.analysis.comparison.pipeline as looking

    taken, real = [], looking.take_real_steps

    def once(label, *arguments, **more):
        taken.append(label)
        if len(taken) == 2:
            raise KeyboardInterrupt
        return real(label, *arguments, **more)

    monkeypatch.setattr(looking, "take_real_steps", once)
    settings = {"objectives": ("dpo", "slic"), "verify_objectives": ("all",), "learning_rate": 1e-3, "per_pair": True}
    with pytest.raises(KeyboardInterrupt):
        run(out=tmp_path, **settings)
    resumed = run(out=tmp_path, **settings)
    assert taken == ["dpo", "slic", "slic"]
    whole = run(**settings)
    assert resumed.metadata.real_steps == whole.metadata.real_steps
    assert resumed.held_out.equals(whole.held_out)


def test_a_comparison_that_cannot_be_saved_loses_no_finished_part(interrupted, monkeypatch):
    out, computed = interrupted
    save = Comparison.save

    def block(self, folder):
        (folder / "compare.parquet").mkdir()
        save(self, folder)

    monkeypatch.setattr(Comparison, "save", block)
    with pytest.raises(
        InputError, match=r"compare.parquet`: Is a directory.* finished parts in `.*/.unfinished-compare`"
    ):
        run(out=out, objectives=("dpo",))
    monkeypatch.setattr(Comparison, "save", save)
    (out / "compare.parquet").rmdir()
    computed["geometry"] = computed["products"] = 0
    run(out=out, objectives=("dpo",))
    assert computed == {"geometry": 0, "products": 0}
    assert Comparison.load(out).metadata.update_batches == (2, 2, 2)


def test_other_held_out_pairs_are_another_run_and_refused(interrupted):
    out, computed = interrupted
    words = r"held-out pairs 2 of memory \(at most 96 tokens\), then 3 of memory \(at most 96 tokens\). Finish"
    with pytest.raises(InputError, match=f"`.*/.unfinished-compare` holds an unfinished run.* not this one: {words}"):
        run(out=out, held_out=PROBE_ROWS[:2], objectives=("dpo",))
    run(out=out, objectives=("dpo",))
    assert computed["geometry"] == 1


@pytest.mark.parametrize("change", [{"rollout_pairs": 2, "seed": 1}, {"rollout_pairs": 1}])
def test_pairs_that_are_followed_are_those_of_this_run_and_not_of_the_unfinished_one(tmp_path, monkeypatch, change):
    """With one update batch, runs with other seeds share everything but the held-out pairs that are followed."""
    import preflens.analysis.comparison.pipeline as looking

    def interrupt(*_):
        raise KeyboardInterrupt

    settings = {"objectives": ("dpo",), "rows": TEXT_ROWS[:1], "rollout_pairs": 2, "seed": 0}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(looking, "first_steps", interrupt)
        run(out=tmp_path, **settings)
    whole, resumed = run(**settings | change), run(out=tmp_path, **settings | change)
    assert resumed.metadata.objectives == whole.metadata.objectives
    assert whole.metadata.objectives != run(**settings).metadata.objectives


def test_bfloat16_runs_and_is_stepped_in_float32():
    found = run(
        model=tiny_model(dtype=torch.bfloat16), objectives=("dpo",), verify_objectives=("dpo",), learning_rate=1e-2
    )
    step = found.metadata.real_steps[0].small[0]
    assert step.r2_chosen is not None
    assert found.metadata.model.dtype == "bfloat16"


def test_a_tokenizer_of_another_model_is_refused():
    with pytest.raises(InputError, match="do not belong together"):
        run(model=tiny_model(vocab_size=100))
