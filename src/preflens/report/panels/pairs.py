"""The texts of the most and the least entangled pairs."""

from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from preflens.records.analysis import Analysis
from preflens.report.section import Section

_SHOWN = 5


@dataclass(frozen=True)
class _Word:
    text: str
    shared: bool


def pairs(analysis: Analysis) -> Section:
    """Show the pairs with the largest and smallest inner product over the smaller squared norm.

    Args:
        analysis: the record to show.

    Returns:
        A section with texts, in which words that both responses share are grey.
    """
    table = analysis.pairs
    smaller = np.minimum(table["chosen_sq_norm"].to_numpy(), table["rejected_sq_norm"].to_numpy())
    with np.errstate(divide="ignore", invalid="ignore"):
        entanglement = table["inner_product"].to_numpy() / smaller
    order = np.argsort(-entanglement, kind="stable")
    order = order[np.isfinite(entanglement[order])]
    count = min(_SHOWN, len(order) // 2) or len(order)
    groups = {"Most entangled": order[:count], "Least entangled": order[::-1][:count]}
    rows = table.to_pylist() if table.num_rows <= 2 * _SHOWN else None
    cards = {
        title: [
            _card(rows[i] if rows else table.slice(int(i), 1).to_pylist()[0], float(entanglement[i])) for i in which
        ]
        for title, which in groups.items()
    }
    return Section("Most and least entangled pairs", {"groups": cards, "limit": analysis.metadata.text_limit})


def _card(row: dict[str, object], entanglement: float) -> dict[str, object]:
    chosen, rejected = _compare(str(row["chosen"]), str(row["rejected"]))
    return {"row": row, "entanglement": entanglement, "chosen": chosen, "rejected": rejected}


def _compare(chosen: str, rejected: str) -> tuple[list[_Word], list[_Word]]:
    """Cut the two texts into runs of words, and mark the runs that are in both texts in the same order."""
    left, right = chosen.split(" "), rejected.split(" ")
    runs: tuple[list[_Word], list[_Word]] = ([], [])
    for kind, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for side, words in zip(runs, (left[a:b], right[c:d]), strict=True):
            if words:
                side.append(_Word(" ".join(words) + " ", kind == "equal"))
    return runs
