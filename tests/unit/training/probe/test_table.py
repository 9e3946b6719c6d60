"""Rows of probed steps: written step by step, replaced, set aside, read as one table."""

import torch

from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.probe.result import ProbeResult
from preflens.training.probe.table import SCHEMA, ProbeTable, rows_of
from preflens.types import LogpChange, PairGram


def row(name, logp, *, kind="probe"):
    return {"set": kind, "id": name, "chosen_logp": logp}


def test_steps_are_read_as_one_table_and_a_step_written_twice_counts_once(tmp_path):
    table = ProbeTable(tmp_path / "probe.parquet")
    assert table.read().schema == SCHEMA
    for step, logp in ((1, -1.0), (2, -2.0), (2, -3.0)):
        table.write(step, [row("a", logp) | {"step": step}])
    assert table.read()["chosen_logp"].to_pylist() == [-1.0, -3.0]


def test_the_first_log_prob_of_each_held_out_pair_is_remembered(tmp_path):
    table = ProbeTable(tmp_path / "probe.parquet")
    table.write(3, [row("a", -1.5) | {"step": 3}, row("b", -9.0, kind="batch") | {"step": 3}])
    table.write(1, [row("a", -1.0) | {"step": 1}])
    assert table.first_held_out_logps() == {"a": -1.0}


def test_later_steps_of_an_earlier_run_are_set_aside_in_a_new_folder(tmp_path):
    table = ProbeTable(tmp_path / "probe.parquet")
    for step in (1, 2, 3):
        table.write(step, [row("a", -float(step)) | {"step": step}])
    earlier = table.set_aside_after(1)
    assert earlier == tmp_path / "probe.earlier-1.parquet"
    assert ProbeTable(earlier).read()["step"].to_pylist() == [2, 3]
    assert table.read()["step"].to_pylist() == [1]
    assert table.set_aside_after(1) is None


def test_a_result_has_one_row_per_pair_and_nulls_where_nothing_is_known():
    one = torch.tensor([1.0], dtype=torch.float64)
    pair = TokenizedPair(PreferencePair("a", "", "", "", row=4), (1,), (2,), (3,))
    change = LogpChange(2 * one, 3 * one)
    result = ProbeResult(
        pairs=(pair,),
        chosen_logp=-one,
        rejected_logp=-one,
        gram=PairGram(one, one, one),
        coefficients=None,
        plain=change,
        optimizer=None,
        measured=change,
    )
    (found,) = rows_of(result, step=7, name="batch", numbers={"a": 9})
    assert set(found) == set(SCHEMA.names)
    assert (found["step"], found["set"], found["row"]) == (7, "batch", 9)
    assert (found["plain_chosen"], found["measured_rejected"]) == (2.0, 3.0)
    assert found["optimizer_chosen"] is found["chosen_coefficient"] is found["outcome"] is None
    assert rows_of(result, step=7, name="probe", numbers={})[0]["row"] == 4
