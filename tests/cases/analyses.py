"""Finished analyses to save, load and show."""

from dataclasses import replace
from functools import cache

import pyarrow as pa
import torch

from preflens.records.common import Estimate
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS
from tests.support.options import flat_analyze

# What nobody sees: bidirectional controls, an escape and a control of terminals, and a space of no width.
HIDDEN = "\u202e\u2066\x1b[31m\x9b\u200b\u202c"
HOSTILE = (
    "<script>alert(1)</script>\"'<img src=x onerror=alert(2)> {{ 7*7 }} </style> [red] :x: \u2028 &amp; "
    f"{HIDDEN} שלום"
)


@cache
def typical():
    """Six pairs, three objectives, real steps."""
    return flat_analyze(
        tiny_model(dtype=torch.float32),
        tiny_tokenizer(),
        TEXT_ROWS,
        objectives=("dpo", "simpo:gamma=0.5", "slic"),
        update_batch_size=2,
        verify_batches=1,
    )


@cache
def one_pair():
    return flat_analyze(tiny_model(dtype=torch.float32), tiny_tokenizer(), TEXT_ROWS[:1])


def without_values():
    """Everything that may be missing is missing."""
    whole = typical()
    nothing = Estimate(None)
    metadata = replace(
        whole.metadata,
        geometry=replace(whole.metadata.geometry, cosine=nothing, chosen_norm=nothing, rejected_norm=nothing),
        objectives=tuple(
            replace(
                o, chosen_change=nothing, rejected_change=nothing, margin_change=nothing, chosen_per_margin=nothing,
                rejected_per_margin=nothing, outcomes=dict.fromkeys(o.outcomes, nothing), inside_band=nothing,
            )
            for o in whole.metadata.objectives
        ),
        verification=tuple(
            replace(v, slope=None, correlation=None, signs_right=None) for v in whole.metadata.verification
        ),
        layers=(),
    )  # fmt: skip
    pairs = whole.pairs
    for name in ("cosine", "ref_chosen_logp", "ref_rejected_logp"):
        place = pairs.schema.get_field_index(name)
        pairs = pairs.set_column(place, pairs.schema.field(name), pa.nulls(pairs.num_rows, pa.float64()))
    for name in ("chosen_sq_norm", "rejected_sq_norm", "inner_product"):
        place = pairs.schema.get_field_index(name)
        zeros = pa.array([0.0] * pairs.num_rows)
        pairs = pairs.set_column(place, pairs.schema.field(name), zeros)
    return replace(whole, metadata=metadata, pairs=pairs)


def hostile():
    """Every text tries to break out of the page."""
    rows = [row | {k: f"{HOSTILE} {row[k]} {HOSTILE}" for k in ("prompt", "chosen", "rejected")} for row in TEXT_ROWS]
    rows = [row | {"id": HOSTILE + row["id"]} for row in rows]
    found = flat_analyze(
        tiny_model(dtype=torch.float32, n_positions=1024), tiny_tokenizer(), rows, verify_batches=1, name=HOSTILE,
        command=HOSTILE,
    )  # fmt: skip
    layers = tuple(replace(layer, name=f"{layer.name}.{HOSTILE}") for layer in found.metadata.layers)
    objectives = tuple(replace(o, label=HOSTILE) for o in found.metadata.objectives)
    data = replace(found.metadata.data, source=HOSTILE, dropped={HOSTILE: 2}, noted={HOSTILE: 1})
    rows_table = found.objectives.set_column(
        1, found.objectives.schema.field(1), pa.array([HOSTILE] * found.objectives.num_rows)
    )
    metadata = replace(
        found.metadata,
        layers=layers,
        objectives=objectives,
        data=data,
        arguments={HOSTILE: HOSTILE} | found.metadata.arguments,
    )
    return replace(found, metadata=metadata, objectives=rows_table)


ANALYSES = {"typical": typical, "one pair": one_pair, "without values": without_values, "hostile": hostile}
