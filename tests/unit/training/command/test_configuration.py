"""Recipe, file and flags become one configuration; what cannot be one is refused in a line."""

import os

import pytest

from preflens.errors import InputError, PreflensError
from preflens.train_config.options import OPTION_PANELS, TrainOptions
from preflens.training.command.configuration import machine_defaults, option_names, read_configuration
from preflens.training.command.launch import launcher_arguments
from preflens.training.command.validation import check_configuration, resumed_from


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return ["--config", str(path)]

    return write


def read(*flags):
    return read_configuration(["--output_dir", "out", *flags])


def test_flags_win_over_the_file_and_the_file_over_defaults(config):
    file = config("learning_rate: 5e-6\nbeta: 0.2\nprobe_pairs: 4\nsamples: 3\nmodel: here\n")
    found = read(*file, "--beta", "0.3", "--samples=1", "--probe-every", "2")
    assert (found.run.learning_rate, found.run.beta, found.run.num_train_epochs) == (5e-6, 0.3, 3)
    assert (found.options.model, found.options.probe_pairs, found.options.samples) == ("here", "4", 1)
    assert found.options.probe_every == 2
    assert read("--config=" + file[1]).run.beta == 0.2


def test_a_value_of_the_file_has_the_type_of_its_option(config):
    found = read(*config("save_strategy: no\nuse_peft: yes\nmax_steps: 3\nloss_type: [sigmoid, sft]\nlimit: null\n"))
    assert found.run.save_strategy == "no"
    assert found.model.use_peft is True
    assert (found.run.max_steps, found.run.loss_type, found.options.limit) == (3, ["sigmoid", "sft"], None)
    with pytest.raises(InputError, match=r"[Aa]rgument --max_steps.*invalid int value: 'many'"):
        read(*config("max_steps: many"))
    with pytest.raises(InputError, match="`samples` takes one value"):
        read(*config("samples: [1, 2]"))


def test_the_file_sets_environment_variables(config, monkeypatch):
    monkeypatch.setenv("PREFLENS_TEST", "before")
    read(*config("env:\n  PREFLENS_TEST: 3\n"))
    assert os.environ["PREFLENS_TEST"] == "3"


def test_without_an_accelerator_a_run_is_on_the_processor_unless_told_otherwise(config):
    if machine_defaults() != {"bf16": False, "use_cpu": True}:
        pytest.skip("there is an accelerator here")
    assert (read().run.bf16, read().run.use_cpu) == (False, True)
    assert read(*config("bf16: true")).run.bf16 is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "is not YAML: while parsing"),
        ("- a\n- b\n", "should hold lines like `learning_rate: 1e-6`. Found list"),
        ("", "Found NoneType"),
        ("env: 3", "`env` of the config"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(config, text, said):
    with pytest.raises(InputError, match=said):
        read(*config(text))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"missing.yaml` cannot be read: No such file"):
        read("--config", str(tmp_path / "missing.yaml"))
    with pytest.raises(InputError, match="`--config` needs a value after it"):
        read("--config")


def test_what_training_does_not_know_goes_to_the_launcher(config):
    found = read(*config("num_machines: 1\nno_python: false\n"), "--num_processes", "2", "--samples", "1")
    assert found.launcher_flags == ("--num_machines", "1", "--no_python", "False", "--num_processes", "2")
    arguments = launcher_arguments(found)
    assert (arguments.num_processes, arguments.num_machines, arguments.no_python) == (2, 1, None)
    assert arguments.training_script_args == ["--output_dir", "out", *found.script_flags[2:4], "--samples", "1"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--sampels", "3"], "Unknown option `--sampels`. Did you mean `--samples`"),
        (["--sample", "3"], "Unknown option `--sample`"),  # no abbreviations
        (["--samples", "3", "4"], "`4` has no option before it"),
        (["--samples", "many"], "invalid int value: 'many'"),
        (["--accelerate_config", "zero9"], "zero9 is neither a file nor a valid config"),
        (["--num_processes", "many"], "invalid int value"),
        (["--eval_strategy", "sometimes"], "invalid choice: 'sometimes'"),
    ],
)
def test_a_wrong_flag_is_one_line(flags, said):
    with pytest.raises(InputError, match=said):
        launcher_arguments(read(*flags))


def test_a_plan_of_trl_for_the_launcher_is_found():
    arguments = launcher_arguments(read("--accelerate_config", "single_gpu"))
    assert arguments.config_file.endswith("single_gpu.yaml")


MODEL, DATA = ["--model", "hub/model"], ["--data", "hub/data"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (DATA, "No model is given"),
        (MODEL, "Data come from one of `--data`.* Found none"),
        ([*MODEL, *DATA, "--dataset_name", "x"], "Found `data` and `dataset_name`"),
        ([*MODEL, "--data", "x.jsonl"], "There is no file or folder `x.jsonl`"),
        (["--model", "./nothere", *DATA], "There is no folder `./nothere`"),
        ([*MODEL, *DATA, "--eval_data", "./y"], "There is no file or folder `./y`"),
        ([*MODEL, *DATA, "--probe_pairs", "./y"], "There is no file or folder `./y`"),
        ([*MODEL, *DATA, "--objective", "dop"], "Unknown objective `dop`"),
        ([*MODEL, *DATA, "--objective", "sft -> dpo"], "a step after every objective but the first"),
        ([*MODEL, *DATA, "--objective", "dpo", "--beta", "0.2"], "TRL's `beta` is not read. Found 0.2"),
        (
            [*MODEL, *DATA, "--objective", "dpo", "--loss_type", "ipo"],
            r"TRL's `loss_type` is not read. Found \['ipo'\]",
        ),
        ([*MODEL, *DATA, "--mitigation", "cone"], "`mitigation` needs an `objective`"),
        ([*MODEL, *DATA, "--objective", "dpo", "--mitigation", "con"], "Did you mean `cone`"),
        ([*MODEL, *DATA, "--geometry_every", "2"], "`geometry_every` needs an `objective`"),
        ([*MODEL, *DATA, "--eval_fraction", "1.5"], "`eval_fraction` should be from 0 to below 1"),
        ([*MODEL, *DATA, "--eval_fraction", "0.5", "--eval_split", "t"], "are an `eval_fraction`; not both"),
        ([*MODEL, *DATA, "--eval_strategy", "steps"], "`eval_strategy` needs held-out pairs"),
        ([*MODEL, *DATA, "--samples", "-1"], "`samples` should be at least 0. Found -1"),
        ([*MODEL, *DATA, "--on_bad_row", "x"], "`on_bad_row` should be `stop` or `drop`"),
        ([*MODEL, *DATA, "--report_to", "paper"], "`report_to` names `paper`"),
        ([*MODEL, *DATA, "--trust_remote_code"], "runs no code from the hub"),
        ([*MODEL, *DATA, "--resume_from_checkpoint", "true"], "There is no checkpoint in `out`"),
        ([*MODEL, *DATA, "--resume_from_checkpoint", "gone"], "the folder of a checkpoint. Found `gone`"),
        ([*MODEL, "--dataset_name", "x", "--limit", "3"], "`limit` needs `--data`"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_loaded(flags, said):
    with pytest.raises(PreflensError, match=said):
        check_configuration(read(*flags))


def test_names_of_trl_serve_as_well():
    check_configuration(read("--model_name_or_path", "hub/model", "--dataset_name", "hub/data"))


@pytest.mark.parametrize(("word", "means"), [("true", True), ("false", None), ("out/checkpoint-2", "out/checkpoint-2")])
def test_a_run_resumes_from_the_last_checkpoint_or_a_named_one(word, means):
    assert resumed_from(read("--resume_from_checkpoint", word)) == means


def test_every_option_has_help_and_no_other_option_its_name():
    names = [name for name in vars(TrainOptions()) if not name.startswith("_")]
    assert all(option.metadata["help"] for option in TrainOptions.__dataclass_fields__.values())
    assert set(OPTION_PANELS) <= set(names)
    assert names[0] in OPTION_PANELS
    assert {f"--{name}" for name in names} <= set(option_names())
