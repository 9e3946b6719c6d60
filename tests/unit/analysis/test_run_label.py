"""The label of a run is there inside its block and nowhere else."""

import pytest

from preflens.analysis.run_label import RunLabel, labeled_run, run_label


def test_a_label_is_that_of_the_innermost_block_and_gone_afterwards():
    assert run_label() == RunLabel(None, None)
    with labeled_run(model_name="gpt2", command="preflens analyze"):
        assert run_label() == RunLabel("gpt2", "preflens analyze")
        with labeled_run():
            assert run_label() == RunLabel()
        assert run_label().model_name == "gpt2"
    assert run_label() == RunLabel()


def test_a_label_is_gone_after_an_error():
    with pytest.raises(RuntimeError, match="midway"), labeled_run(model_name="gpt2"):
        raise RuntimeError("midway")
    assert run_label() == RunLabel()
