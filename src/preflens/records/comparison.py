"""What `preflens compare` found: two or three tables and the facts around them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from preflens.records.comparison_metadata import COMPARISON_FORMAT, ComparisonMetadata
from preflens.records.comparison_schema import COMPARE_SCHEMA, HELD_OUT_SCHEMA, TRAINING_SCHEMA
from preflens.records.json_codec import to_json
from preflens.records.reading import check_rows, read_metadata, read_table, require_files, run_name
from preflens.records.storage import output_folder, write_table, write_together

COMPARISON_FILES = ("compare.json", "compare.parquet", "compare_pairs.parquet", "compare_heldout.parquet")
UNFINISHED_COMPARISON = ".unfinished-compare"  # folder of the finished parts of a run, beside them
_COMMAND = "preflens compare"


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison of objectives.

    Attributes:
        rows: one row a training pair and objective; columns and units in `preflens.records.comparison_schema`.
        pairs: one row a training pair: what does not depend on the objective.
        held_out: one row a held-out pair and objective, pairs in the order of the data; no row where that was not
            asked for.
        metadata: the rest: one entry an objective, trajectories, real steps.
    """

    rows: pa.Table
    pairs: pa.Table
    held_out: pa.Table
    metadata: ComparisonMetadata

    def save(self, folder: str | Path) -> None:
        """Write three tables and, last, `compare.json`: all of them, or nothing changes.

        The tables are `compare.parquet`, `compare_pairs.parquet` and `compare_heldout.parquet`.

        Args:
            folder: where to; made if needed.
        """
        place, run = output_folder(Path(folder), COMPARISON_FILES), run_name(self.metadata)
        write_together({
            place / "compare.parquet": partial(write_table, self.rows, run=run),
            place / "compare_pairs.parquet": partial(write_table, self.pairs, run=run),
            place / "compare_heldout.parquet": partial(write_table, self.held_out, run=run),
            place / "compare.json": lambda path: path.write_text(to_json(self.metadata), encoding="utf-8"),
        })

    @classmethod
    def load(cls, folder: str | Path) -> "Comparison":
        """Read what `save` wrote; a file that is missing, damaged or of another format raises an `InputError`.

        Args:
            folder: where from.

        Returns:
            The same comparison, bit for bit.
        """
        place = Path(folder)
        require_files(place, COMPARISON_FILES, what="comparison", command=_COMMAND)
        metadata = read_metadata(
            ComparisonMetadata, place / "compare.json", version=COMPARISON_FORMAT, command=_COMMAND
        )
        schemas = (COMPARE_SCHEMA, TRAINING_SCHEMA, HELD_OUT_SCHEMA)
        rows, pairs, held_out = (
            read_table(place / name, schema, command=_COMMAND, run=run_name(metadata))
            for name, schema in zip(COMPARISON_FILES[1:], schemas, strict=True)
        )
        count = metadata.data.pairs
        check_rows(place / "compare.parquet", rows, count * len(metadata.objectives), command=_COMMAND)
        check_rows(place / "compare_pairs.parquet", pairs, count, command=_COMMAND)
        return cls(rows, pairs, held_out, metadata)
