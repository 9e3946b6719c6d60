"""Per-pair rows of a run, one file per probed step, so that interrupted and resumed runs lose no rows."""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from torch import Tensor

from preflens.records.storage import output_folder, write_atomically
from preflens.training.probe.result import ProbeResult
from preflens.types import LogpChange

_NUMBERS = (
    "chosen_logp", "rejected_logp", "chosen_sq_norm", "rejected_sq_norm", "inner_product", "chosen_coefficient",
    "rejected_coefficient", "plain_chosen", "plain_rejected", "optimizer_chosen", "optimizer_rejected",
    "attribution_chosen", "attribution_rejected", "measured_chosen", "measured_rejected",
    "floor_chosen", "floor_rejected",
)  # fmt: skip
SCHEMA = pa.schema(
    [("step", pa.int64()), ("set", pa.string()), ("id", pa.string()), ("row", pa.int64())]
    + [(name, pa.float64()) for name in _NUMBERS]
    + [("outcome", pa.string())]
)


class ProbeTable:
    """The rows of a run: a folder of Parquet files that can be read as one table.

    Args:
        folder: created with the first rows.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, step: int, rows: Sequence[Mapping[str, object]]) -> None:
        """Write the rows of a step, replacing rows of the same step.

        Args:
            step: the optimizer's step.
            rows: with the columns of `SCHEMA`.
        """
        table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
        path = output_folder(self._folder) / f"step-{step:07d}.parquet"
        write_atomically(path, lambda to: pq.write_table(table, to))

    def set_aside_after(self, step: int) -> Path | None:
        """Move rows that an earlier run wrote for later steps into a new folder next to this one.

        Args:
            step: the last one whose rows stay.

        Returns:
            The new folder, which can be read as a table, too; None where there were no such rows.
        """
        later = [p for p in self._folder.glob("step-*.parquet") if int(p.stem.removeprefix("step-")) > step]
        if not later:
            return None
        names = (f"{self._folder.stem}.earlier-{n}{self._folder.suffix}" for n in count(1))
        earlier = next(p for p in map(self._folder.with_name, names) if not p.exists())
        output_folder(earlier)
        for path in later:
            path.replace(earlier / path.name)
        return earlier

    def first_held_out_logps(self) -> dict[str, float]:
        """Return the log-prob of each held-out chosen response at its first probed step, nats, by id."""
        first: dict[str, float] = {}
        for row in self.read().sort_by("step").to_pylist():
            if row["set"] == "probe":
                first.setdefault(row["id"], row["chosen_logp"])
        return first

    def read(self) -> pa.Table:
        """Return all rows.

        Returns:
            A table of `SCHEMA`; without rows where none were written.
        """
        files = sorted(str(p) for p in self._folder.glob("step-*.parquet"))
        return pads.dataset(files, schema=SCHEMA).to_table() if files else SCHEMA.empty_table()


def rows_of(result: ProbeResult, *, step: int, name: str, numbers: Mapping[str, int]) -> list[dict[str, object]]:
    """Convert a result to rows, one per pair.

    Args:
        result: complete.
        step: the optimizer's step.
        name: of the set: `batch` or `probe`.
        numbers: row numbers in the training data, by id; other pairs carry their own row number.

    Returns:
        Rows with the columns of `SCHEMA`.
    """
    outcomes = result.outcomes()
    coefficients = result.coefficients
    columns = {
        "chosen_logp": result.chosen_logp,
        "rejected_logp": result.rejected_logp,
        "chosen_sq_norm": result.gram.chosen_sq_norm,
        "rejected_sq_norm": result.gram.rejected_sq_norm,
        "inner_product": result.gram.inner_product,
        "chosen_coefficient": None if coefficients is None else coefficients.chosen,
        "rejected_coefficient": None if coefficients is None else coefficients.rejected,
    }
    for change in ("plain", "optimizer", "attribution", "measured", "floor"):
        columns |= _sides(change, getattr(result, change))
    values = {column: [None] * len(result.pairs) if v is None else v.tolist() for column, v in columns.items()}
    return [
        {"step": step, "set": name, "id": pair.pair.id, "row": numbers.get(pair.pair.id, pair.pair.row)}
        | {column: listed[k] for column, listed in values.items()}
        | {"outcome": None if outcomes is None else str(outcomes[k])}
        for k, pair in enumerate(result.pairs)
    ]


def _sides(name: str, change: LogpChange | None) -> dict[str, Tensor | None]:
    if change is None:
        return {f"{name}_chosen": None, f"{name}_rejected": None}
    return {f"{name}_chosen": change.chosen, f"{name}_rejected": change.rejected}
