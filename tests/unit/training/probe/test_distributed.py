"""Shares of processes, and merging of their results; two real processes are tested end to end."""

import pytest
import torch

from preflens.training.probe import distributed
from preflens.training.probe.distributed import ProcessGroup, merge_packed, pack_results
from preflens.training.probe.result import ProbeResult
from preflens.types import LogpChange, PairGram


def group(rank, count):
    # Not checked against `Accelerator`, which would start the processes.
    made = ProcessGroup()
    made.count, made._rank = count, rank
    return made


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shares_are_disjoint_and_complete(count):
    shares = [group(rank, count).local(range(7)) for rank in range(count)]
    assert sorted(item for share in shares for item in share) == list(range(7))
    for total in range(8):
        assert [group(rank, count).local_count(total) for rank in range(count)] == [
            sum(item < total for item in share) for share in shares
        ]
    assert [group(rank, count).first for rank in range(count)] == [True] + [False] * (count - 1)


def test_a_single_process_gathers_from_itself():
    alone = ProcessGroup()
    assert alone.gather(b"x") == [b"x"]
    assert alone.gather(None) == []
    assert (alone.any(True), alone.any(False), alone.from_first(3)) == (True, False, 3)


def test_a_flag_on_any_rank_is_set_everywhere(monkeypatch):
    monkeypatch.setattr(distributed, "gather_object", lambda local: [*local, True])
    assert group(0, 2).any(False)
    monkeypatch.setattr(distributed, "gather_object", lambda local: [*local, None])
    assert group(0, 2).gather(b"x") == [b"x"]


def test_results_of_all_processes_are_merged_by_set():
    def result(logp):
        one = torch.tensor([logp], dtype=torch.float64)
        gram = PairGram(torch.ones_like(one), torch.ones_like(one), torch.zeros_like(one))
        return ProbeResult(
            pairs=(),
            chosen_logp=one,
            rejected_logp=one,
            gram=gram,
            coefficients=None,
            plain=LogpChange(one, one),
            optimizer=None,
        )

    merged = merge_packed([
        pack_results({"batch": result(-1.0)}),
        pack_results({"batch": result(-2.0), "probe": result(-3.0)}),
    ])
    assert merged["batch"].chosen_logp.tolist() == [-1.0, -2.0]
    assert merged["probe"].chosen_logp.tolist() == [-3.0]
