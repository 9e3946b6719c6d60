"""What `preflens analyze` found: two tables and the facts around them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from preflens.errors import InputError
from preflens.records.facts import FORMAT_VERSION, Facts
from preflens.records.json_codec import from_json, to_json
from preflens.records.storage import output_folder, write_atomically
from preflens.records.tables import OBJECTIVES_SCHEMA, PAIRS_SCHEMA


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
        """Read what `save` wrote.

        Args:
            folder: where from.

        Returns:
            The same analysis, bit for bit.

        Raises:
            InputError: a file is missing or damaged, or was written in another format.
        """
        place = Path(folder)
        missing = [n for n in ("analysis.json", "pairs.parquet", "objectives.parquet") if not (place / n).is_file()]
        if missing:
            raise InputError(
                f"`{place}` holds no finished analysis: {', '.join(missing)} not found. "
                "Pass the folder that `preflens analyze --out` wrote."
            )
        facts = _read_facts(place / "analysis.json")
        pairs = _read_table(place / "pairs.parquet", PAIRS_SCHEMA)
        objectives = _read_table(place / "objectives.parquet", OBJECTIVES_SCHEMA)
        return cls(pairs, objectives, facts)


def _read_facts(path: Path) -> Facts:
    text = path.read_text(encoding="utf-8")
    try:
        record = json.loads(text)
        found = record["format_version"]
        facts = from_json(Facts, text) if found == FORMAT_VERSION else None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"`{path}` cannot be read ({error}). Run `preflens analyze` again.") from None
    if facts is None:
        raise InputError(
            f"`{path}` has format {found}, written by preflens {record.get('versions', {}).get('preflens', '?')}; this "
            f"version reads format {FORMAT_VERSION}. Run `preflens analyze` again."
        )
    return facts


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        return pq.read_table(path, schema=schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise InputError(f"`{path}` cannot be read: {error}. Run `preflens analyze` again.") from None
