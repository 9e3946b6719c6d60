"""Going on after an interruption."""

import numpy as np
import pytest

import preflens.analysis.analyze as module
from preflens import analyze
from preflens.analysis.checkpoint import Checkpoint
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS


def run(folder, **arguments):
    arguments = {"update_batch_size": 2, "progress": False} | arguments
    return analyze(
        tiny_model(seed=arguments.pop("model_seed", 0)), tiny_tokenizer(), TEXT_ROWS, resume_from=folder, **arguments
    )


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A folder with two of three update batches done, and a list of the batches computed after that."""
    computed, real = [], module.batch_geometry

    def interrupt(passes, **arguments):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(passes)
        return real(passes, **arguments)

    monkeypatch.setattr(module, "batch_geometry", interrupt)
    folder = tmp_path / "unfinished"
    with pytest.raises(KeyboardInterrupt):
        run(folder)
    computed.clear()
    return folder, computed


def test_an_interrupted_run_goes_on_and_gives_the_same_tables(interrupted, tmp_path):
    folder, computed = interrupted
    resumed = run(folder)
    assert len(computed) == 1
    computed.clear()
    monkey_free = run(None, update_batch_size=6)  # one batch: fits the interrupting double
    assert resumed.pairs.column("chosen_logp").to_pylist() == pytest.approx(
        monkey_free.pairs["chosen_logp"].to_pylist()
    )
    assert not folder.exists()


def test_other_objectives_and_learning_rates_use_what_is_there(interrupted):
    folder, computed = interrupted
    run(folder, objectives=["simpo"], learning_rate=0.1)
    assert len(computed) == 1


@pytest.mark.parametrize("change", [{"model_seed": 1}, {"seed": 3}, {"parameters": "ln_f"}, {"max_length": 12}])
def test_what_belongs_to_another_run_is_not_used(interrupted, change):
    folder, computed = interrupted
    with pytest.raises(KeyboardInterrupt):
        run(folder, **change)
    assert len(computed) == 2


def test_a_damaged_batch_is_computed_again(interrupted):
    folder, computed = interrupted
    damaged = sorted(folder.glob("batch-*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    run(folder)
    assert len(computed) == 2


def test_a_checkpoint_without_a_folder_keeps_nothing():
    checkpoint = Checkpoint(None, "key")
    assert checkpoint.load(0) is None
    checkpoint.clear()


def test_kept_batches_hold_no_pickles(interrupted):
    folder, _ = interrupted
    for path in folder.glob("batch-*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays.files)
