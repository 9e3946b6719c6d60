"""The training pairs that pull the held-out chosen answers down the most."""

from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc

from preflens.records.comparison import Comparison
from preflens.records.comparison_metadata import ObjectiveComparison
from preflens.report.section import Section

_SHOWN = 5


def harmful_pairs(comparison: Comparison) -> Section:
    """Show the training pairs at the lower end of the influence on the held-out mean chosen log-prob.

    Args:
        comparison: what was found.

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
        "per_margin": first.margin_scale is not None, "sinking": len(order), "total": len(influence),
        "share": _share(influence), "limit": comparison.metadata.text_limit,
    }  # fmt: skip
    return Section("Pairs that sink the held-out chosen answers", "pairs_that_sink.html", values)


def _card(
    comparison: Comparison, objective: ObjectiveComparison, row: Mapping[str, object], position: int
) -> Mapping[str, object]:
    at_rate = [float(str(row[f"heldout_{what}_influence"])) for what in ("chosen", "rejected", "margin")]
    moved = at_rate if objective.margin_scale is None else [objective.per_margin(value) for value in at_rate]
    return {"pair": comparison.pairs.slice(position, 1).to_pylist()[0], "moved": moved, "outcome": row["outcome"]}


def _share(influence: np.ndarray) -> float | None:
    """How much of all that pulls down comes from the tenth of the pairs that pull down the most."""
    down = np.sort(influence[influence < 0])
    return float(down[: max(1, len(influence) // 10)].sum() / down.sum()) if len(down) else None
