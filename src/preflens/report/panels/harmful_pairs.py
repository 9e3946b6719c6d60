"""The training pairs that lower the held-out chosen log-probs the most."""

from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc

from preflens.records.comparison import Comparison
from preflens.records.comparison_metadata import ObjectiveComparison
from preflens.report.section import Section

_SHOWN = 5


def harmful_pairs(comparison: Comparison) -> Section:
    """Show the training pairs with the most negative influence on the held-out mean chosen log-prob.

    Args:
        comparison: the record to show.

    Returns:
        A section with texts, for the first objective of the table whose margin clearly grows.
    """
    objectives = comparison.metadata.objectives
    first = next((o for o in objectives if o.margin_scale is not None), objectives[0])
    rows = comparison.rows.filter(pc.field("objective") == first.label)
    influence = rows["heldout_chosen_influence"].to_numpy()
    order = [i for i in np.argsort(influence, kind="stable").tolist() if influence[i] < 0]
    values = {
        "objective": first.label, "cards": [_card(comparison, first, rows.slice(i, 1).to_pylist()[0], i)
                                            for i in order[:_SHOWN]],
        "per_margin": first.margin_scale is not None, "lowering": len(order), "total": len(influence),
        "share": _share(influence), "limit": comparison.metadata.text_limit,
    }  # fmt: skip
    return Section("Pairs that lower the held-out chosen log-probs", values)


def _card(
    comparison: Comparison, objective: ObjectiveComparison, row: Mapping[str, object], position: int
) -> Mapping[str, object]:
    at_rate = [float(str(row[f"heldout_{what}_influence"])) for what in ("chosen", "rejected", "margin")]
    scaled = at_rate if objective.margin_scale is None else [objective.per_margin(value) for value in at_rate]
    return {"pair": comparison.pairs.slice(position, 1).to_pylist()[0], "influence": scaled, "outcome": row["outcome"]}


def _share(influence: np.ndarray) -> float | None:
    """Return the share of the most harmful tenth of the pairs in the sum of all negative influences."""
    negative = np.sort(influence[influence < 0])
    return float(negative[: max(1, len(influence) // 10)].sum() / negative.sum()) if len(negative) else None
