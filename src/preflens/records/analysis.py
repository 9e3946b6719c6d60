"""What `preflens analyze` found: two tables and the facts around them."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from preflens.records.facts import FORMAT_VERSION, Facts
from preflens.records.json_codec import to_json
from preflens.records.storage import output_folder, read_facts, read_table, require_files, write_atomically
from preflens.records.tables import OBJECTIVES_SCHEMA, PAIRS_SCHEMA

_COMMAND = "preflens analyze"


@dataclass(frozen=True)
class Analysis:
    """The result of an analysis.

    Attributes:
        pairs: one row a pair; columns and units in `preflens.records.tables`.
        objectives: one row a pair and objective.
        facts: the rest.
    """

    pairs: pa.Table
    objectives: pa.Table
    facts: Facts

    def save(self, folder: str | Path) -> None:
        """Write `pairs.parquet`, `objectives.parquet` and, last, `analysis.json`.

        Args:
            folder: where to; made if needed.
        """
        place = output_folder(Path(folder))
        write_atomically(place / "pairs.parquet", lambda path: pq.write_table(self.pairs, path))
        write_atomically(place / "objectives.parquet", lambda path: pq.write_table(self.objectives, path))
        write_atomically(place / "analysis.json", lambda path: path.write_text(to_json(self.facts), encoding="utf-8"))

    @classmethod
    def load(cls, folder: str | Path) -> "Analysis":
        """Read what `save` wrote; a file that is missing, damaged or of another format raises an `InputError`.

        Args:
            folder: where from.

        Returns:
            The same analysis, bit for bit.
        """
        place = Path(folder)
        names = ("analysis.json", "pairs.parquet", "objectives.parquet")
        require_files(place, names, what="analysis", command=_COMMAND)
        facts = read_facts(Facts, place / "analysis.json", version=FORMAT_VERSION, command=_COMMAND)
        pairs = read_table(place / "pairs.parquet", PAIRS_SCHEMA, command=_COMMAND)
        objectives = read_table(place / "objectives.parquet", OBJECTIVES_SCHEMA, command=_COMMAND)
        return cls(pairs, objectives, facts)
