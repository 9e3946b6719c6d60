"""Results go to the log, to the table, and to alerts."""

from types import SimpleNamespace

import pytest
import torch

from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.alerts import Alerts
from preflens.training.probe.recorder import Recorder
from preflens.training.probe.result import ProbeResult
from preflens.training.probe.table import ProbeTable
from preflens.types import LogpChange, PairGram
from tests.support.stub_trainer import StubTrainer


def one(value):
    return torch.tensor([value], dtype=torch.float64)


def result(logp, change):
    pair = TokenizedPair(PreferencePair("a", "", "", ""), (1,), (2,), (3,))
    changes = LogpChange(one(change), one(change))
    return ProbeResult(
        pairs=(pair,),
        chosen_logp=one(logp),
        rejected_logp=one(-9.0),
        gram=PairGram(one(1.0), one(1.0), one(0.5)),
        coefficients=None,
        plain=changes,
        optimizer=changes,
        attribution=changes,
        measured=changes,
    )


@pytest.fixture
def trainer(tmp_path):
    return StubTrainer(args=SimpleNamespace(output_dir=str(tmp_path)))


def test_a_step_is_logged_written_and_compared_with_the_start_of_its_own_pairs(trainer, tmp_path):
    alerts = Alerts(both_falling=None, chosen_below=2.0, forecast_r2=None)
    recorder = Recorder(trainer, window=50, alerts=alerts, numbers={"a": 7})
    assert recorder.record(1, {"batch": result(-5.0, 0.1), "probe": result(-1.0, -0.5)}, overhead=0.25) == []
    (alert,) = recorder.record(2, {"probe": result(-3.0, -0.5)}, overhead=0.25)
    assert alert.text == "The mean log-prob of held-out chosen answers is 2.5 nats below its start."
    log = trainer.logged()
    assert log["preflens/overhead"] == [0.25, 0.25]
    assert log["preflens/measured_chosen"] == [0.1]
    assert log["preflens/probe_logp_chosen"] == [-1.0, -3.0]
    rows = ProbeTable(tmp_path / "preflens" / "probe.parquet").read().to_pylist()
    found = [(row["step"], row["set"], row["row"]) for row in rows]
    assert found == [(1, "batch", 7), (1, "probe", None), (2, "probe", None)]


def test_without_results_nothing_is_recorded(trainer, tmp_path):
    assert Recorder(trainer, window=50, alerts=Alerts(), numbers={}).record(1, {}, overhead=0.0) == []
    assert trainer.logged() == {}
    assert not (tmp_path / "preflens").exists()
