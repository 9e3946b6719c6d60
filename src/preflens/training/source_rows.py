"""Row numbers in the user's data: TRL drops rows, and `preflens train` draws and splits them."""

from collections.abc import Sequence
from typing import Any

# The column in which `preflens train` stores them.
SOURCE_ROW = "source_row"
# The column that TRL adds with precomputed reference log-probs.
_PRECOMPUTED = "ref_chosen_logps"


def source_rows(data: Any) -> Sequence[int] | None:  # noqa: ANN401  # data sets of many kinds
    """Return the row number, in the data passed to a trainer, of each row of its prepared data.

    Args:
        data: prepared by the trainer.

    Returns:
        Numbers from 0, or the column `source_row` where the data have one. None where they are not known: for streams,
        and where reference log-probs were added, after which `datasets` no longer knows which rows were dropped.
    """
    if not hasattr(data, "__len__"):
        return None
    columns = getattr(data, "column_names", None) or ()
    if SOURCE_ROW in columns:
        stored: list[int] = list(data[SOURCE_ROW])
        return stored
    # TRL maps the data, which renumbers rows, and then filters them, which keeps a list of indices.
    kept = getattr(data, "_indices", None)
    if kept is not None:
        numbers: list[int] = kept.column(0).to_pylist()
        return numbers
    return None if _PRECOMPUTED in columns else range(len(data))
