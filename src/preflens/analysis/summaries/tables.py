"""The two tables of an analysis."""

from collections.abc import Mapping, Sequence
from itertools import chain

import pyarrow as pa
import torch
from torch import Tensor

from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.dynamics import band_position, cancellation_tolerance, classify, gradient_condition, predict_change
from preflens.language_models.conversations import Text, render
from preflens.language_models.tokenizing import TokenizedPair
from preflens.objectives.kinds.base import Objective
from preflens.records.analysis_schema import OBJECTIVES_SCHEMA, PAIRS_SCHEMA, TEXT_LIMIT

Column = Sequence[object]


def pairs_table(
    pairs: Sequence[TokenizedPair], batches: Sequence[Sequence[int]], geometries: Sequence[BatchGeometry]
) -> pa.Table:
    """Build the table of measured values, with one row per pair in the order of the pairs.

    Args:
        pairs: all pairs.
        batches: positions of each update batch's pairs, in the order of its geometry.
        geometries: geometry of each batch.

    Returns:
        A table of `PAIRS_SCHEMA`.
    """
    parts = [
        _pair_columns([pairs[i] for i in batch], geometry, number)
        for number, (batch, geometry) in enumerate(zip(batches, geometries, strict=True))
    ]
    return _sorted_table(parts, batches, PAIRS_SCHEMA)


def objectives_table(
    objectives: Mapping[str, Objective],
    pairs: Sequence[TokenizedPair],
    batches: Sequence[Sequence[int]],
    geometries: Sequence[BatchGeometry],
    *,
    learning_rate: float,
) -> pa.Table:
    """Build the table of predicted plain steps, with one row per pair and objective.

    Args:
        objectives: by label.
        pairs: all pairs.
        batches: positions of each update batch's pairs, in the order of its geometry.
        geometries: geometry of each batch.
        learning_rate: η of the step.

    Returns:
        A table of `OBJECTIVES_SCHEMA`, objective by objective, pairs in order.
    """
    tables = []
    for label, objective in objectives.items():
        parts = [
            {"id": [pairs[i].pair.id for i in batch], **_objective_columns(label, objective, geometry, learning_rate)}
            for batch, geometry in zip(batches, geometries, strict=True)
        ]
        tables.append(_sorted_table(parts, batches, OBJECTIVES_SCHEMA))
    return pa.concat_tables(tables)


def _pair_columns(pairs: Sequence[TokenizedPair], geometry: BatchGeometry, number: int) -> dict[str, Column]:
    logps, gram = geometry.logps, geometry.gram.pair_gram()
    return {
        "id": [p.pair.id for p in pairs],
        "prompt_tokens": [len(p.prompt_ids) for p in pairs],
        "chosen_tokens": _list(logps.chosen_tokens, len(pairs)),
        "rejected_tokens": _list(logps.rejected_tokens, len(pairs)),
        "chosen_logp": _list(logps.chosen, len(pairs)),
        "rejected_logp": _list(logps.rejected, len(pairs)),
        "ref_chosen_logp": _list(logps.ref_chosen, len(pairs)),
        "ref_rejected_logp": _list(logps.ref_rejected, len(pairs)),
        "chosen_sq_norm": _list(gram.chosen_sq_norm, len(pairs)),
        "rejected_sq_norm": _list(gram.rejected_sq_norm, len(pairs)),
        "inner_product": _list(gram.inner_product, len(pairs)),
        "cosine": _list(gram.cosine, len(pairs)),
        "update_batch": [number] * len(pairs),
        "prompt": [_cut(p.pair.prompt, keep_end=True) for p in pairs],
        "chosen": [_cut(p.pair.chosen) for p in pairs],
        "rejected": [_cut(p.pair.rejected) for p in pairs],
    }


def _objective_columns(label: str, objective: Objective, geometry: BatchGeometry, rate: float) -> dict[str, Column]:
    gram = geometry.gram.pair_gram()
    coefficients = objective.coefficients(geometry.logps)
    alone = predict_change(gram, coefficients, learning_rate=rate)
    shared = predict_change(geometry.gram, coefficients, learning_rate=rate)
    slack = gradient_condition(gram, coefficients)
    outcomes = classify(alone, cancellation_tolerance(gram, coefficients, learning_rate=rate))
    count = len(outcomes)
    return {
        "objective": [label] * count,
        "chosen_coefficient": _list(coefficients.chosen, count),
        "rejected_coefficient": _list(coefficients.rejected, count),
        "chosen_logp_change": _list(alone.chosen, count),
        "rejected_logp_change": _list(alone.rejected, count),
        "batch_chosen_logp_change": _list(shared.chosen, count),
        "batch_rejected_logp_change": _list(shared.rejected, count),
        "outcome": [str(o) for o in outcomes],
        "slack_chosen": _list(slack.chosen, count),
        "slack_rejected": _list(slack.rejected, count),
        "band_slack": _list(band_position(gram, coefficients).slack, count),
    }


def _sorted_table(parts: Sequence[dict[str, Column]], batches: Sequence[Sequence[int]], schema: pa.Schema) -> pa.Table:
    """Concatenate the columns of the batches and sort the rows into the order of the pairs."""
    positions = torch.tensor(list(chain.from_iterable(batches))).argsort().numpy()
    columns = {name: list(chain.from_iterable(part[name] for part in parts)) for name in schema.names}
    return pa.table(columns, schema=schema).take(positions)


def _list(values: Tensor | None, count: int) -> Column:
    """Plain numbers, with null for NaN and for a missing tensor."""
    if values is None:
        return [None] * count
    return [None if v != v else v for v in values.tolist()]


def _cut(text: Text, *, keep_end: bool = False) -> str:
    rendered = render(text)
    if len(rendered) <= TEXT_LIMIT:
        return rendered
    return "…" + rendered[-TEXT_LIMIT:] if keep_end else rendered[:TEXT_LIMIT] + "…"
