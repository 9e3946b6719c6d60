"""Progress, clock and threads."""

import pytest
import torch

from preflens.analysis.measurement.progress import one_thread, progress_bar, timed


def test_threads_come_back_after_small_sums_on_one():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="midway"), one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError("midway")
    assert torch.get_num_threads() == before


def test_a_part_is_timed_even_if_it_fails():
    seconds = {}
    with pytest.raises(RuntimeError), timed(seconds, "part"):
        raise RuntimeError
    assert list(seconds) == ["part"]
    assert seconds["part"] >= 0


@pytest.mark.parametrize("shown", [True, False])
def test_a_bar_is_on_standard_error_and_only_if_it_is_shown(shown, capsys):
    with progress_bar("Gradients", total=2, shown=shown) as advance:
        advance(2)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert ("Gradients" in streams.err and "2/2" in streams.err) == shown
