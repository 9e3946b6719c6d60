"""Option objects from the options of a command."""

import pytest

from preflens.cli.library_options import micro_batch_size, prepare_output, run_options, step_numbers, step_options
from preflens.errors import InputError
from preflens.records.lock import folder_lock


@pytest.mark.parametrize(
    ("parameters", "adapter", "trainable"), [("", None, "all"), ("", "a", "lora"), ("ln_f", "a", "ln_f")]
)
def test_all_parameters_step_without_an_adapter_and_lora_with_one(parameters, adapter, trainable):
    step = step_options(parameters, adapter, learning_rate=0.1, update_batch_size=4)
    assert (step.trainable, step.learning_rate, step.update_batch_size) == (trainable, 0.1, 4)


def test_run_options(tmp_path):
    run = run_options(tmp_path, discard=True, micro_batch="3", progress=False)
    assert (run.out, run.discard, run.micro_batch, run.progress) == (tmp_path, True, 3, False)


def test_a_micro_batch_is_a_number_or_auto():
    assert (micro_batch_size("auto"), micro_batch_size("8")) == ("auto", 8)
    for wrong in ("-1", "many", ""):
        with pytest.raises(InputError, match=f"`--micro-batch` should be `auto` or a number of pairs. Found `{wrong}`"):
            micro_batch_size(wrong)


def test_a_horizon_is_a_list_of_numbers():
    assert step_numbers("1, 10,100,") == [1, 10, 100]
    for wrong in ("", "1;2", "a"):
        with pytest.raises(InputError, match=f"`--horizon` should hold numbers of steps.* Found `{wrong}`"):
            step_numbers(wrong)


def test_an_output_folder_that_another_run_uses_is_refused(tmp_path):
    prepare_output(tmp_path / "out", ["a"], unfinished=".unfinished")
    assert (tmp_path / "out").is_dir()
    (tmp_path / "out" / "a").mkdir()
    with pytest.raises(InputError, match="A folder has this name"):
        prepare_output(tmp_path / "out", ["a"], unfinished=".unfinished")
    with folder_lock(tmp_path / "out" / ".unfinished"), pytest.raises(InputError, match="Another run uses"):
        prepare_output(tmp_path / "out", [], unfinished=".unfinished")
