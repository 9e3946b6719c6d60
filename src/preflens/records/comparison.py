"""The result of `compare`: three tables and their metadata."""

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
UNFINISHED_COMPARISON = ".unfinished-compare"  # folder of the finished parts of a run, beside these files
_COMMAND = "preflens compare"


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison of objectives.

    Attributes:
        rows: one row per training pair and objective. Columns and units are in `preflens.records.comparison_schema`.
        pairs: one row per training pair, with everything that does not depend on the objective.
        held_out: one row per held-out pair and objective, pairs in the order of the data. Empty without `per_pair`.
        metadata: data, model, arguments, one summary per objective, trajectories and real steps.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from preflens import RunOptions, compare
        >>> from preflens.demo.tiny_model import make_model, make_tokenizer
        >>> rows = [{"prompt": "the film was", "chosen": " good", "rejected": " bad"}]
        >>> held_out = [{"prompt": "the plot was", "chosen": " good", "rejected": " bad"}]
        >>> tokenizer = make_tokenizer()
        >>> model = make_model(tokenizer, seed=0).eval()
        >>> with TemporaryDirectory() as folder:
        ...     run = RunOptions(out=folder, progress=False)
        ...     _ = compare(model, tokenizer, rows, held_out=held_out, objectives=["dpo", "sft"], run=run)
        ...     result = Comparison.load(folder)
        >>> [objective.label for objective in result.metadata.objectives]
        ['dpo', 'sft']
    """

    rows: pa.Table
    pairs: pa.Table
    held_out: pa.Table
    metadata: ComparisonMetadata

    def save(self, folder: str | Path) -> None:
        """Write three tables and, last, `compare.json`. All are written, or nothing changes.

        The tables are `compare.parquet`, `compare_pairs.parquet` and `compare_heldout.parquet`.

        Args:
            folder: output folder. It is created if needed.
        """
        path, run = output_folder(Path(folder), COMPARISON_FILES), run_name(self.metadata)
        write_together({
            path / "compare.parquet": partial(write_table, self.rows, run=run),
            path / "compare_pairs.parquet": partial(write_table, self.pairs, run=run),
            path / "compare_heldout.parquet": partial(write_table, self.held_out, run=run),
            path / "compare.json": lambda file: file.write_text(to_json(self.metadata), encoding="utf-8"),
        })

    @classmethod
    def load(cls, folder: str | Path) -> "Comparison":
        """Read what `save` wrote. A file that is missing, damaged or of another format raises an `InputError`.

        Args:
            folder: folder of the files.

        Returns:
            The same comparison, bit for bit.
        """
        path = Path(folder)
        require_files(path, COMPARISON_FILES, what="comparison", command=_COMMAND)
        metadata = read_metadata(ComparisonMetadata, path / "compare.json", version=COMPARISON_FORMAT, command=_COMMAND)
        schemas = (COMPARE_SCHEMA, TRAINING_SCHEMA, HELD_OUT_SCHEMA)
        rows, pairs, held_out = (
            read_table(path / name, schema, command=_COMMAND, run=run_name(metadata))
            for name, schema in zip(COMPARISON_FILES[1:], schemas, strict=True)
        )
        count = metadata.data.pairs
        check_rows(path / "compare.parquet", rows, count * len(metadata.objectives), command=_COMMAND)
        check_rows(path / "compare_pairs.parquet", pairs, count, command=_COMMAND)
        return cls(rows, pairs, held_out, metadata)
