"""`preflens train` as a user calls it, on a tiny model in a folder, without a network."""

import json
import math
import shutil
import sqlite3
import sys

import pyarrow.dataset as pads
import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOTrainer

from preflens.cli.main import main as command_line
from preflens.training.command.configuration import read_configuration
from preflens.training.command.main import run_process as run_script
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS, chat_rows
from tests.end_to_end.conftest import write_rows

ROWS = TEXT_ROWS[:5]
QUIET = ["--disable_tqdm", "true", "--save_strategy", "no", "--per_device_train_batch_size", "2", "--max_steps", "4"]
PROBED = ["--probe_every", "1", "--probe_pairs", "2", "--max_overhead", "0", "--alert_forecast_r2", "-99"]


@pytest.fixture
def train(monkeypatch, capfd):
    """Call the command in this process, and hear the processes that it launches."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["preflens", "train", *map(str, arguments)])
        try:
            command_line()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def flags(place, tmp_path):
    """Model, data and output folder as flags, and whatever is added."""

    def make(*more, data=ROWS, model="model"):
        file = write_rows(tmp_path / "train.jsonl", data)
        given = ["--model", place / model, "--data", file, "--output_dir", tmp_path / "out", *QUIET, *PROBED, *more]
        return [str(part) for part in given]

    return make


def probe_rows(folder):
    return pads.dataset(folder / "preflens" / "probe.parquet").to_table().to_pylist()


def test_a_configuration_with_flags_over_it_runs_through_accelerate(train, place, tmp_path):
    tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError)
    data, out = write_rows(tmp_path / "train.jsonl", ROWS), tmp_path / "out"
    (tmp_path / "run.yaml").write_text(
        f"model: {place / 'model'}\ndata: {data}\neval_data: {place / 'pairs.jsonl'}\noutput_dir: {out}\n"
        "max_steps: 9\nlearning_rate: 1e-3\nobjective: sft -> simpo:beta=2 @ 1\nprobe_every: 1\nprobe_pairs: 2\n"
        "max_overhead: 0\nlogging_steps: 1\nreport_to: [tensorboard]\nsave_strategy: no\ndisable_tqdm: true\n"
        "num_processes: 1\nsamples: 2\nsample_tokens: 4\n",
        encoding="utf-8",
    )
    code, said, err = train("--config", tmp_path / "run.yaml", "--max_steps", 2)
    assert code == 0, (said, err)
    assert "Pairs: 5 to train on, 6 held out." in err
    assert f"Model: {out}" in said
    assert "Greedy answers" in said
    assert {row["step"] for row in probe_rows(out)} == {1, 2}
    assert (out / "model.safetensors").is_file()
    log = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert {"preflens/cosine", "preflens/probe_measured_chosen"} <= set(log[0])
    (events,) = out.rglob("events.out.tfevents.*")
    found = tensorboard.EventAccumulator(str(events.parent))
    found.Reload()
    assert len(found.Scalars("train/preflens/probe_measured_chosen")) == 2
    samples = json.loads((out / "preflens" / "samples.json").read_text())
    assert len(samples["samples"]) == 2
    assert samples["samples"][0]["prompt"].endswith(ROWS[0]["prompt"])
    assert samples["before"].keys() == samples["after"].keys() == {"tokens", "repetition", "ended"}


def test_a_mistake_found_by_the_launched_script_is_one_line_and_exit_code_two(train, flags):
    code, _, err = train(*flags(data=[*ROWS, {"prompt": "a", "chosen": "b"}]))
    assert code == 2
    assert "Traceback" not in err
    assert [line for line in err.splitlines() if line.startswith("error: ")] == err.splitlines()[-1:]
    assert "column `rejected` is missing" in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--objektive", "dpo"], "Unknown option `--objektive`. Did you mean `--objective`"),
        (["--objective", "dop"], "Unknown objective `dop`"),
        (["--config", "nothere.yaml"], "The configuration `nothere.yaml` cannot be read"),
        (["--run"], "`--print` and `--run` need `--recipe`"),
        (["--recipe", "hh"], "`--recipe hh --print` or `--recipe hh --run`"),
        (["--recipe", "hhh", "--run"], "There is no recipe `hhh`"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_launched(train, flags, more, said):
    code, _, err = train(*flags(), *more)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_without_trl_the_extra_is_named(train, flags, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("preflens.training")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    code, _, err = train(*flags())
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install 'preflens[train]'" in err


def test_a_recipe_is_printed_with_its_comments(train):
    code, out, _ = train("--recipe", "tldr-lora", "--print")
    assert code == 0
    assert "lora_r: 64" in out
    assert "# Source: Yuan et al." in out


def test_the_help_shows_groups_of_options_and_says_that_trls_work(train):
    code, out, _ = train("--help")
    assert code == 0
    assert "Every option of `trl dpo`" in " ".join(out.split())
    for said in ("--objective", "--probe_every", "Answers before and after", "[default: 32]"):
        assert said in out


def test_trackio_gets_the_metrics(flags, tmp_path, monkeypatch):
    pytest.importorskip("trackio", reason="trackio is not installed")
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    more = ["--report_to", "trackio", "--project", "tiny", "--logging_steps", "1", "--samples", "0", "--max_steps", "2"]
    assert run_script(flags(*more)) == 0
    (file,) = (tmp_path / "trackio").rglob("tiny.db")
    with sqlite3.connect(file) as database:
        rows = database.execute("select metrics from metrics").fetchall()
    assert any("train/preflens/measured_chosen" in str(row[0]) for row in rows)


def test_conversations_and_lora_run_and_resume(flags, place, tmp_path, capsys):
    lora = ["--use_peft", "--lora_r", "2", "--lora_target_modules", "q_proj", "v_proj", "--samples", "2"]
    more = [*lora, "--sample_tokens", "3", "--save_strategy", "steps", "--save_steps", "2", "--eval_fraction", "0.4"]
    assert run_script(flags(*more, data=chat_rows(ROWS))) == 0, capsys.readouterr()
    out = tmp_path / "out"
    assert (out / "adapter_model.safetensors").is_file()
    assert {row["step"] for row in probe_rows(out)} == {1, 2, 3, 4}
    again = ["--max_steps", "5", "--resume_from_checkpoint", "true", "--objective", "dpo"]
    assert run_script(flags(*more, *again, data=chat_rows(ROWS))) == 0, capsys.readouterr()
    assert {row["step"] for row in probe_rows(out)} == {1, 2, 3, 4, 5}


def test_training_goes_on_from_an_adapter_as_trl_does_it(flags, place, tmp_path, capsys):
    """The same weights as TRL's trainer with a `PeftModel`, to the last bit, and a frozen copy for reference."""
    adapter = str(place / "adapter")
    more = ["--adapter", adapter, "--samples", "0", "--logging_steps", "1", "--learning_rate", "1e-3"]
    assert run_script(flags(*more)) == 0, capsys.readouterr()
    assert "Reference: a frozen copy of the adapter" in capsys.readouterr().err
    log = json.loads((tmp_path / "out" / "trainer_state.json").read_text())["log_history"]
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert abs(log[3]["loss"] - math.log(2)) > 1e-5
    base = AutoModelForCausalLM.from_pretrained(place / "model", dtype=torch.float32)
    trainer = DPOTrainer(
        model=PeftModel.from_pretrained(base, adapter, is_trainable=True),
        args=read_configuration(flags(*more)).run, train_dataset=Dataset.from_list(ROWS),
        processing_class=AutoTokenizer.from_pretrained(place / "model"),
    )  # fmt: skip
    trainer.train()
    trainer.save_model(tmp_path / "trl")
    for file in ("adapter_model.safetensors", "ref/adapter_model.safetensors"):
        ours, theirs = load_file(tmp_path / "out" / file), load_file(tmp_path / "trl" / file)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    start = load_file(place / "adapter" / "adapter_model.safetensors")
    copy = load_file(tmp_path / "out" / "ref" / "adapter_model.safetensors")
    assert all(torch.equal(copy[name], start[name]) for name in start)


def test_a_run_from_an_adapter_resumes_to_the_same_weights(flags, place, tmp_path, capsys):
    """The reference is the adapter that the run began from, not the one of the checkpoint."""
    more = ["--adapter", str(place / "adapter"), "--samples", "0", "--learning_rate", "1e-3", "--probe_every", "0"]
    saving = [*more, "--save_strategy", "steps", "--save_steps", "2"]
    assert run_script(flags(*saving)) == 0, capsys.readouterr()
    whole = load_file(tmp_path / "out" / "adapter_model.safetensors")
    (tmp_path / "out" / "adapter_model.safetensors").unlink()
    halfway = str(tmp_path / "out" / "checkpoint-2")
    assert run_script(flags(*saving, "--resume_from_checkpoint", halfway)) == 0, capsys.readouterr()
    resumed = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    ("model", "more", "said"),
    [
        ("adapter", [], "holds an adapter, not a whole model"),
        ("model", ["--adapter", "adapter", "--use_peft"], "`use_peft` makes a new adapter, `adapter` continues from"),
        ("model", ["--adapter", "model"], "holds no adapter: adapter_config.json is missing"),
        ("model", ["--adapter", "missing"], "There is no folder"),
    ],
)
def test_mistakes_with_adapters_are_one_line(train, flags, place, model, more, said):
    places = [str(place / word) if word in {"adapter", "model", "missing"} else word for word in more]
    code, _, err = train(*flags(*places, model=model))
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


def test_an_adapter_of_another_model_and_truncated_weights_are_one_line(flags, place, tmp_path, capsys):
    tiny_model("llama", dtype=torch.float32, num_hidden_layers=3).save_pretrained(tmp_path / "deeper")
    tiny_tokenizer().save_pretrained(tmp_path / "deeper")
    shutil.copytree(place / "model", tmp_path / "cut")
    file = tmp_path / "cut" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:3000])
    for folder, more, said in (
        ("deeper", ["--adapter", str(place / "adapter")], "does not belong to this model. It has no weights for"),
        ("cut", [], "not fully covered"),
    ):
        assert run_script(flags(*more, model=tmp_path / folder)) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert said in line


def test_a_loss_that_trl_does_not_know_is_one_line(flags, capsys):
    assert run_script(flags("--loss_type", "sigmoit", "--samples", "0")) == 2
    assert "error: Unknown loss type: sigmoit" in capsys.readouterr().err


def test_conversations_without_a_template_are_refused_by_the_script(flags, place, tmp_path, capsys):
    tiny_model("llama").float().save_pretrained(tmp_path / "plain")
    tiny_tokenizer(chat=False).save_pretrained(tmp_path / "plain")
    assert run_script(flags(data=chat_rows(ROWS), model=tmp_path / "plain")) == 2
    assert "chat_template" in capsys.readouterr().err
