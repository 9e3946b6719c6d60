"""What `preflens compare` found: two or three tables and the facts around them."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from preflens.records.comparison_facts import COMPARISON_FORMAT, ComparisonFacts
from preflens.records.comparison_tables import COMPARE_SCHEMA, HELD_OUT_SCHEMA, TRAINING_SCHEMA
from preflens.records.json_codec import to_json
from preflens.records.storage import output_folder, read_facts, read_table, require_files, write_atomically

_COMMAND = "preflens compare"


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison of objectives.

    Attributes:
        rows: one row a training pair and objective; columns and units in `preflens.records.comparison_tables`.
        pairs: one row a training pair: what does not depend on the objective.
        held_out: one row a held-out pair and objective, pairs in the order of the data; no row where that was not
            asked for.
        facts: the rest: one entry an objective, trajectories, real steps.
    """

    rows: pa.Table
    pairs: pa.Table
    held_out: pa.Table
    facts: ComparisonFacts

    def save(self, folder: str | Path) -> None:
        """Write `compare.parquet`, `compare_pairs.parquet`, `compare_heldout.parquet` and, last, `compare.json`.

        Args:
            folder: where to; made if needed.
        """
        place = output_folder(Path(folder))
        tables = {"compare": self.rows, "compare_pairs": self.pairs, "compare_heldout": self.held_out}
        for name, table in tables.items():
            write_atomically(place / f"{name}.parquet", lambda path, table=table: pq.write_table(table, path))  # type: ignore[misc]  # a default of a lambda
        write_atomically(place / "compare.json", lambda path: path.write_text(to_json(self.facts), encoding="utf-8"))

    @classmethod
    def load(cls, folder: str | Path) -> "Comparison":
        """Read what `save` wrote; a file that is missing, damaged or of another format raises an `InputError`.

        Args:
            folder: where from.

        Returns:
            The same comparison, bit for bit.
        """
        place = Path(folder)
        names = ("compare.json", "compare.parquet", "compare_pairs.parquet", "compare_heldout.parquet")
        require_files(place, names, what="comparison", command=_COMMAND)
        facts = read_facts(ComparisonFacts, place / "compare.json", version=COMPARISON_FORMAT, command=_COMMAND)
        schemas = (COMPARE_SCHEMA, TRAINING_SCHEMA, HELD_OUT_SCHEMA)
        rows, pairs, held_out = (
            read_table(place / name, schema, command=_COMMAND) for name, schema in zip(names[1:], schemas, strict=True)
        )
        return cls(rows, pairs, held_out, facts)
