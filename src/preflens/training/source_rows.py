"""Which row of the user's data a row of a trainer's data was: TRL leaves some out, and `train` draws and splits."""

from collections.abc import Sequence
from typing import Any

# The column in which our own reader notes it.
SOURCE_ROW = "source_row"
# The column that TRL adds when it is asked for reference log-probs beforehand.
_PRECOMPUTED = "ref_chosen_logps"


def source_rows(data: Any) -> Sequence[int] | None:  # noqa: ANN401  # data sets of many kinds
    """Number the rows of a trainer's data as they stand in the data that the trainer was given.

    Args:
        data: prepared by the trainer.

    Returns:
        From 0, in the order of the data, or the column `source_row` where they have one. None where that is not known:
        for streams, and where reference log-probs were added, which makes `datasets` forget what was left out.
    """
    if not hasattr(data, "__len__"):
        return None
    columns = getattr(data, "column_names", None) or ()
    if SOURCE_ROW in columns:
        noted: list[int] = list(data[SOURCE_ROW])
        return noted
    # TRL maps the data, which counts rows anew, and then filters them, which leaves a list of what was kept.
    kept = getattr(data, "_indices", None)
    if kept is not None:
        numbers: list[int] = kept.column(0).to_pylist()
        return numbers
    return None if _PRECOMPUTED in columns else range(len(data))
