"""The commands as a user calls them, on a tiny model."""

import json

import pyarrow.parquet as pq
import pytest
import torch

from preflens import OBJECTIVES, Analysis
from preflens.cli.main import app
from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS
from tests.end_to_end.conftest import run_outside

WRITTEN = {"pairs.parquet", "objectives.parquet", "analysis.json", "report.html"}


def analyze(preflens, place, out, *more, data="pairs.jsonl"):
    return preflens(
        "analyze", "--model", place / "model", "--data", place / data, "--out", out, "--no-progress", *more
    )  # fmt: skip


def test_analyze_writes_tables_facts_and_report_and_says_the_verdict(preflens, place, tmp_path):
    names = [name for name in OBJECTIVES if OBJECTIVES[name]().inputs <= {"reference", "length"}]
    objectives = [part for name in names for part in ("--objective", name)]
    code, out, err = analyze(preflens, place, tmp_path / "out", "--verify", 1, *objectives)
    assert code == 0, err
    assert {p.name for p in (tmp_path / "out").iterdir()} == WRITTEN
    assert "nat of margin" in " ".join(out.split())
    assert "report.html" in out
    pairs = pq.read_table(tmp_path / "out" / "pairs.parquet")
    rows = pq.read_table(tmp_path / "out" / "objectives.parquet")
    assert pairs["id"].to_pylist() == [r["id"] for r in TEXT_ROWS]
    assert rows.num_rows == len(TEXT_ROWS) * len(names)
    metadata = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert metadata["command"].startswith("preflens analyze --model ")
    assert metadata["versions"]["torch"]
    assert metadata["data"]["pairs"] == len(TEXT_ROWS)
    assert metadata["seconds"]["total"] > 0
    assert len(metadata["verification"]) == len(names)


def test_the_recorded_command_repeats_the_analysis(preflens, place, tmp_path):
    import shlex

    analyze(preflens, place, tmp_path / "out", "--seed", 3, "--limit", 4)
    first = Analysis.load(tmp_path / "out")
    code, _, err = preflens(*shlex.split(first.metadata.command)[1:])
    assert code == 0, err
    again = Analysis.load(tmp_path / "out")
    assert again.pairs.equals(first.pairs)
    assert again.objectives.equals(first.objectives)


def test_conversations_adapter_parameters_and_reference(preflens, place, tmp_path):
    code, out, err = analyze(
        preflens, place, tmp_path / "out", "--adapter", place / "adapter", "--objective", "simpo:beta=2.5,gamma=0.3",
        "--objective", "dpo", "--update-batch-size", 3, "--micro-batch", 2, "--learning-rate", 1e-3, data="chat.jsonl",
    )  # fmt: skip
    assert code == 0, err
    metadata = Analysis.load(tmp_path / "out").metadata
    assert (metadata.model.selection, metadata.model.reference) == ("lora", "adapter-copy")
    assert [o.label for o in metadata.objectives] == ["simpo:beta=2.5,gamma=0.3", "dpo"]
    assert metadata.update_batches == (3, 3)
    assert "Reference: a frozen copy of the adapter" in out
    assert "a frozen copy of the adapter, as TRL keeps it" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("reference", "recorded", "said"),
    [
        ("adapter-off", "adapter-off", "the model without its adapter"),
        ("self", "self", "the model itself, as at the first step of training"),
        ("adapter", "model with an adapter (", "model with an adapter ("),
    ],
)
def test_the_other_references_of_an_adapter_can_be_had(preflens, place, tmp_path, reference, recorded, said):
    wanted = place / "adapter" if reference == "adapter" else reference
    code, out, err = analyze(preflens, place, tmp_path / "out", "--adapter", place / "adapter", "--reference", wanted)
    assert code == 0, err
    assert recorded in Analysis.load(tmp_path / "out").metadata.model.reference
    assert said in " ".join(out.split())


def test_all_that_an_adapter_trains_steps_and_real_steps_agree_in_every_update_batch(preflens, place, tmp_path):
    """The case of an adapter with new tokens: copies of the embedding and of the head beside a new LoRA."""
    new = tiny_lora(dtype=torch.float32, b_std=0.0, modules_to_save=["embed_tokens", "lm_head"])
    new.save_pretrained(tmp_path / "adapter")
    trained = sum(p.numel() for p in new.parameters() if p.requires_grad)
    for reference in ("adapter-copy", "adapter-off"):
        code, _, err = analyze(
            preflens, place, tmp_path / reference, "--adapter", tmp_path / "adapter", "--reference", reference,
            "--update-batch-size", 2, "--verify", 3,
        )  # fmt: skip
        assert code == 0, err
        metadata = Analysis.load(tmp_path / reference).metadata
        assert metadata.model.trainable == trained
        assert metadata.verification[0].slope == pytest.approx(1, abs=0.01)


def test_experts_are_analysed_in_float64(preflens, tmp_path, place):
    tiny_model("mixtral", dtype=torch.float32).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    options = ["--model", tmp_path / "model", "--data", place / "pairs.jsonl", "--out", tmp_path / "out"]
    code, _, err = preflens("analyze", *options, "--dtype", "float64", "--no-progress")
    assert code == 0, err
    assert Analysis.load(tmp_path / "out").metadata.model.dtype == "float64"


def test_reference_model_and_other_choices(preflens, place, tmp_path):
    code, _, err = analyze(
        preflens, place, tmp_path / "out", "--reference", place / "model", "--parameters", r"layers\.1", "--dtype",
        "bfloat16", "--max-length", 20, "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    metadata = Analysis.load(tmp_path / "out").metadata
    assert metadata.model.dtype == "bfloat16"
    assert metadata.data.dropped == {"prompt fills the maximal length": 1}
    assert [layer.name for layer in metadata.layers] == ["model.layers.1"]
    assert "model (" in metadata.model.reference


def test_report_renders_a_finished_analysis_again(preflens, place, tmp_path):
    analyze(preflens, place, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    (tmp_path / "out" / "report.html").unlink()
    code, _, err = preflens("report", tmp_path / "out")
    assert code == 0, err
    assert (tmp_path / "out" / "report.html").read_text() == page
    assert preflens("report", tmp_path / "out", "--out", tmp_path / "x" / "other.html")[0] == 0
    assert (tmp_path / "x" / "other.html").read_text() == page


def test_report_of_nothing_is_refused(preflens, tmp_path):
    code, _, err = preflens("report", tmp_path)
    assert code == 2
    assert "holds no finished analysis" in err


def test_objectives_are_listed_and_shown(preflens):
    code, out, _ = preflens("objectives")
    assert code == 0
    assert all(name in out for name in OBJECTIVES)
    code, out, _ = preflens("objectives", "simpo:beta=3")
    assert code == 0
    assert "ℓ = −log σ" in out
    assert "beta=3, gamma=1" in out
    assert "arXiv 2405.14734" in out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("discopop", ["the first step runs backwards", "@misc{lu2024discovering,", "eprint = {2406.08414}"]),
        ("kto", ["Not confirmed: the paired form", "batch", "lam_w=1"]),
        ("dpo@ld:alpha=0.3", ["Length desensitization", "token log-probs", "2305.18290", "2409.06411"]),
        ("0.7*dpo+0.3*sft", ["0.7 × dpo", "0.3 × sft", "d_w = 0.065, d_l = 0.035"]),
    ],
)
def test_an_objective_is_shown_with_condition_defaults_and_bibliography(preflens, name, said):
    code, out, _ = preflens("objectives", name)
    assert code == 0
    assert all(text in " ".join(out.split()) for text in ("condition", "at reference", "domain", "helps", *said))


def test_an_objective_that_needs_token_log_probs_is_refused_by_name(preflens, place, tmp_path):
    code, _, err = analyze(preflens, place, tmp_path / "out", "--objective", "slime")
    assert code == 2
    assert "Objective `slime` also uses: token log-probs" in " ".join(err.split())


@pytest.mark.parametrize("command", [[], *([command.name] for command in app.registered_commands)])
def test_every_command_has_help(preflens, command):
    code, out, _ = preflens(*command, "--help")
    assert code == 0
    assert "Usage: preflens" in out
    assert "--help" in out


def test_version_is_printed(preflens):
    from preflens.version import __version__

    assert preflens("--version") == (0, f"preflens {__version__}\n", "")


def test_report_never_loads_torch(place, tmp_path, preflens):
    analyze(preflens, place, tmp_path / "out")
    (tmp_path / "fake").mkdir()
    for name in ("torch", "transformers", "datasets", "peft", "trl"):
        (tmp_path / "fake" / f"{name}.py").write_text("raise ImportError('this must not be loaded')")
    import os

    path = os.pathsep.join([str(tmp_path / "fake"), os.environ.get("PYTHONPATH", "")])
    done = run_outside("report", tmp_path / "out", env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr


def test_a_progress_bar_shows_rate_and_time_left(place, tmp_path):
    done = run_outside(
        "analyze", "--model", place / "model", "--data", place / "pairs.jsonl", "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    assert "Gradients of pairs" in done.stderr
    assert "6/6" in done.stderr
    assert "/s" in done.stderr
    assert "Gradients" not in done.stdout
