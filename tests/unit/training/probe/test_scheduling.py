"""Which steps are probed."""

import pytest

from preflens.training.probe import scheduling
from preflens.training.probe.scheduling import ProbeSchedule


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(scheduling.time, "perf_counter", clock.perf_counter)
    return clock


def run(pace, clock, *, steps, step_seconds, probe_seconds, start=0):
    """Steps that were probed."""
    probed = []
    pace.begin(start)
    for step in range(start + 1, start + steps + 1):
        clock.now += step_seconds
        if pace.due(step):
            with pace.timed():
                clock.now += probe_seconds * max(pace.pairs, 1)
            pace.probed(step, probe_seconds * max(pace.pairs, 1))
            probed.append(step)
    return probed


def test_without_a_limit_every_so_manieth_step_is_probed(clock):
    pace = ProbeSchedule(every=5, max_overhead=None, probe_pairs=1)
    assert run(pace, clock, steps=23, step_seconds=1.0, probe_seconds=100.0) == [5, 10, 15, 20]


def test_a_resumed_run_probes_the_same_steps(clock):
    pace = ProbeSchedule(every=5, max_overhead=None, probe_pairs=1)
    assert run(pace, clock, steps=11, step_seconds=1.0, probe_seconds=1.0, start=12) == [15, 20]


@pytest.mark.parametrize("limit", [0.02, 0.1])
@pytest.mark.parametrize("cost", [0.001, 0.01, 0.3, 2.0])
def test_the_overhead_stays_inside_the_limit(clock, cost, limit):
    pace = ProbeSchedule(every=2, max_overhead=limit, probe_pairs=16)
    probed = run(pace, clock, steps=1500, step_seconds=1.0, probe_seconds=cost)
    assert pace.overhead <= limit + 2 * 16 * cost / 1500  # the last probe, and the first, whose cost nobody knew
    assert probed


def test_cheap_probes_are_never_thinned(clock):
    pace = ProbeSchedule(every=3, max_overhead=0.02, probe_pairs=4)
    assert run(pace, clock, steps=30, step_seconds=1.0, probe_seconds=0.001) == list(range(3, 31, 3))
    assert pace.pairs == 4


def test_time_that_was_spent_beside_the_last_probe_is_made_up_for(clock):
    """Fifty seconds are a tenth of five hundred; the last probe alone would be paid for after ten steps."""
    pace = ProbeSchedule(every=1, max_overhead=0.1, probe_pairs=1)
    pace.begin(0)
    clock.now += 1.0
    with pace.timed():
        clock.now += 50.0
    pace.probed(1, 1.0)
    assert pace.next == pytest.approx(500, abs=2)


def test_dear_probes_look_at_fewer_held_out_pairs(clock):
    pace = ProbeSchedule(every=1, max_overhead=0.05, probe_pairs=64)
    run(pace, clock, steps=1000, step_seconds=1.0, probe_seconds=0.05)
    assert ProbeSchedule.FEWEST_PAIRS <= pace.pairs < 64
