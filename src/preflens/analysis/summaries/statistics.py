"""Means over the tables of an analysis, with intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from preflens.analysis.measurement.geometry import BatchGeometry
from preflens.analysis.summaries.bootstrap import estimate, mean, ratio
from preflens.objectives.kinds.base import Objective
from preflens.records.analysis_metadata import Geometry, LayerSums, ObjectiveSummary
from preflens.records.common import Estimate
from preflens.records.outcome import Outcome


def summarize_geometry(pairs: pa.Table) -> Geometry:
    """Average the geometry over pairs.

    Args:
        pairs: table of `PAIRS_SCHEMA`.

    Returns:
        Means with intervals that resample pairs.
    """
    chosen, rejected, inner = (_column(pairs, c) for c in ("chosen_sq_norm", "rejected_sq_norm", "inner_product"))
    return Geometry(
        cosine=mean(_column(pairs, "cosine")),
        chosen_norm=mean(np.sqrt(chosen)),
        rejected_norm=mean(np.sqrt(rejected)),
        chosen_ratio=ratio(inner, chosen),
        rejected_ratio=ratio(inner, rejected),
    )


def summarize_layers(geometries: Sequence[BatchGeometry]) -> tuple[LayerSums, ...]:
    """Average each layer's part of the geometry over all pairs.

    Args:
        geometries: geometry of every update batch.

    Returns:
        One entry per layer, in the model's order.
    """
    names = geometries[0].by_layer.blocks or ()
    entries = ("chosen_sq_norm", "rejected_sq_norm", "inner_product")
    means = [torch.cat([getattr(g.by_layer, e) for g in geometries], dim=1).mean(dim=1).tolist() for e in entries]
    return tuple(LayerSums(*row) for row in zip(names, *means, strict=True))


def summarize_objectives(
    objectives: Mapping[str, Objective], pairs: pa.Table, rows: pa.Table
) -> tuple[ObjectiveSummary, ...]:
    """Summarize the predicted step of each objective.

    Args:
        objectives: by label.
        pairs: table of `PAIRS_SCHEMA`.
        rows: table of `OBJECTIVES_SCHEMA` for the same pairs.

    Returns:
        One summary per objective. Intervals of changes resample whole update batches, those of shares resample pairs.
    """
    batch = _column(pairs, "update_batch").astype(int)
    by_label = {label: rows.filter(pc.field("objective") == label) for label in objectives}
    twins = same_directions({label: _coefficients(group) for label, group in by_label.items()})
    return tuple(
        _summarize(label, objective, batch, by_label[label], same_direction_as=twins[label])
        for label, objective in objectives.items()
    )


def _summarize(
    label: str, objective: Objective, batch: np.ndarray, rows: pa.Table, *, same_direction_as: str | None
) -> ObjectiveSummary:
    sizes = np.bincount(batch).astype(float)
    chosen = np.bincount(batch, weights=_column(rows, "batch_chosen_logp_change"))
    rejected = np.bincount(batch, weights=_column(rows, "batch_rejected_logp_change"))
    margin_change = ratio(chosen - rejected, sizes)
    lower_end = (margin_change.value if margin_change.low is None else margin_change.low) or 0.0
    outcomes = np.array(rows["outcome"].to_pylist())
    return ObjectiveSummary(
        label=label,
        name=objective.name,
        parameters=dict(objective.parameters),
        chosen_change=ratio(chosen, sizes),
        rejected_change=ratio(rejected, sizes),
        margin_change=margin_change,
        chosen_per_margin=ratio(chosen, chosen - rejected) if lower_end > 0 else Estimate(None),
        rejected_per_margin=ratio(rejected, chosen - rejected) if lower_end > 0 else Estimate(None),
        outcomes={str(o): estimate(np.mean, (outcomes == o).astype(float)) for o in Outcome},
        inside_band=mean((_column(rows, "band_slack") > 0).astype(float)),
        negative=int((_coefficients(rows) <= 0).any(axis=0).sum()),
        same_direction_as=same_direction_as,
    )


def same_directions(coefficients: Mapping[str, np.ndarray]) -> dict[str, str | None]:
    """Find objectives whose steps have the same direction and differ in length only.

    Args:
        coefficients: coefficients of each objective for the same pairs, by label.

    Returns:
        For each label the first earlier one whose coefficients are a positive multiple of its coefficients, or None.
    """
    twins: dict[str, str | None] = {}
    for label, values in coefficients.items():
        earlier = (other for other in twins if twins[other] is None and _proportional(values, coefficients[other]))
        twins[label] = next(earlier, None)
    return twins


def _proportional(one: np.ndarray, other: np.ndarray) -> bool:
    product, lengths = float(np.vdot(one, other)), float(np.linalg.norm(one) * np.linalg.norm(other))
    return lengths > 0 and product > 0 and bool(np.allclose(one, other * product / np.vdot(other, other), rtol=1e-9))


def _coefficients(rows: pa.Table) -> np.ndarray:
    return np.stack([_column(rows, "chosen_coefficient"), _column(rows, "rejected_coefficient")])


def _column(table: pa.Table, name: str) -> np.ndarray:
    """A column as float64, with NaN for nulls."""
    values: np.ndarray = table[name].cast(pa.float64()).to_numpy()
    return values
