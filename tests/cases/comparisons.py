"""Finished comparisons to save, load and show, and the parts they are made of."""

from dataclasses import replace
from functools import cache

import pyarrow as pa
import torch

from preflens import MarginObjective
from preflens.analysis.comparison.model_queries import ModelQueries
from preflens.analysis.measurement.checkpoint import Checkpoint
from preflens.analysis.measurement.forward_passes import PassLimit, PolicyScorer
from preflens.language_models.output_head import plain_head
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import tokenize_pairs
from preflens.objectives import dpo
from preflens.records.common import Estimate
from preflens.records.comparison_metadata import MeanChange
from tests.cases.analyses import HOSTILE
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import ALIKE_ROWS, PROBE_ROWS, TEXT_ROWS
from tests.support.options import flat_compare


def tokenized(rows):
    return list(tokenize_pairs(pairs_in_memory(rows).pairs, tiny_tokenizer(), max_length=96).pairs)


def model_queries(model, *, pairs_in_pass=2, memory=1e9):
    """A way to ask a model; call it inside `observing`."""
    scorer = PolicyScorer(model, plain_head(model), 0)
    return ModelQueries(scorer, PassLimit(pairs=pairs_in_pass), "self", memory, Checkpoint(None, ""), False)


def shrinking():
    """An objective that makes the margin smaller."""
    plain = dpo()
    return MarginObjective("shrinking", m=lambda z: -z, h_w=plain.h_w, h_l=plain.h_l, source=plain.source)


def failing():
    """An objective that raises when the coefficients of several pairs are wanted."""

    def m(z):
        if len(z) > 1:
            raise RuntimeError("midway")
        return z

    plain = dpo()
    return MarginObjective("failing", m=m, h_w=plain.h_w, h_l=plain.h_l, source=plain.source)


def run(rows=TEXT_ROWS, *, model=None, **arguments):
    """A comparison on the tiny model in float64."""
    arguments = {"held_out": PROBE_ROWS, "update_batch_size": 2, "horizon": (1, 4)} | arguments
    return flat_compare(model or tiny_model(), tiny_tokenizer(), rows, **arguments)


@cache
def typical():
    """Three objectives, a grid, single held-out pairs, real steps."""
    return run(
        model=tiny_model(dtype=torch.float32), objectives=("dpo", "ipo", "slic"), grid=("dpo.beta=0.5,1",),
        learning_rate=1e-3, per_pair=True, verify_objectives=("dpo", "slic"), margin_gain=0.2, held_out=ALIKE_ROWS,
    )  # fmt: skip


@cache
def without_gain():
    """One pair on each side, and an objective that makes the margin smaller."""
    return run(
        TEXT_ROWS[:1], held_out=ALIKE_ROWS[:1], objectives=("dpo", shrinking()), model=tiny_model(dtype=torch.float32)
    )


@cache
def unclear():
    """Held-out pairs that have little to do with the training pairs: no margin can be told from zero but one."""
    return run(model=tiny_model(dtype=torch.float32), objectives=("dpo", "slic", "cpo"), learning_rate=1e-3,
               held_out=[*ALIKE_ROWS[:2], *PROBE_ROWS], verify_objectives=("dpo",))  # fmt: skip


def without_values():
    """Everything that may be missing is missing."""
    whole, nothing = typical(), Estimate(None)
    objectives = tuple(
        replace(o, train=MeanChange(nothing, nothing, nothing), heldout=MeanChange(nothing, nothing, nothing),
                chosen_per_margin=nothing, rejected_per_margin=nothing, margin_scale=None, trajectories=())
        for o in whole.metadata.objectives
    )  # fmt: skip
    real = tuple(
        replace(
            r, rollouts=(), small=tuple(replace(s, r2_chosen=None, r2_rejected=None, r2_margin=None) for s in r.small)
        )
        for r in whole.metadata.real_steps
    )
    return replace(whole, metadata=replace(whole.metadata, objectives=objectives, real_steps=real, command=None))


def hostile():
    """Every text tries to break out of the page."""
    rows = [row | {k: f"{HOSTILE} {row[k]} {HOSTILE}" for k in ("prompt", "chosen", "rejected")} for row in TEXT_ROWS]
    rows = [row | {"id": HOSTILE + row["id"]} for row in rows]
    found = run(
        rows, model=tiny_model(dtype=torch.float32, n_positions=1024), objectives=("dpo", "slic"), name=HOSTILE,
        command=HOSTILE, verify_objectives=("dpo",), learning_rate=1e-3,
    )  # fmt: skip
    metadata, first = found.metadata, found.metadata.objectives[0]
    per_margin = {"chosen_per_margin": Estimate(0.4, 0.2, 0.6), "rejected_per_margin": Estimate(-0.6, -0.8, -0.4)}
    renamed = (replace(first, label=HOSTILE, name=HOSTILE, **per_margin), *metadata.objectives[1:])
    probe = replace(metadata.probe, source=HOSTILE, dropped={HOSTILE: 2}, noted={HOSTILE: 1})
    real = tuple(
        replace(r, objective=HOSTILE, rollouts=tuple(replace(c, objective=HOSTILE) for c in r.rollouts))
        for r in metadata.real_steps
    )
    labels = pa.array([HOSTILE if label == first.label else label for label in found.rows["objective"].to_pylist()])
    place = found.rows.schema.get_field_index("objective")
    table = found.rows.set_column(place, found.rows.schema.field(place), labels)
    changed = replace(
        metadata, objectives=renamed, probe=probe, real_steps=real, left_out={HOSTILE: HOSTILE},
        arguments=metadata.arguments | {HOSTILE: HOSTILE}, per_pair=HOSTILE,
    )  # fmt: skip
    return replace(found, rows=table, metadata=changed)


COMPARISONS = {
    "typical": typical, "without gain": without_gain, "unclear": unclear, "without values": without_values,
    "hostile": hostile,
}  # fmt: skip
