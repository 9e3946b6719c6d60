"""The result of `analyze`: two tables and their metadata."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from preflens.records.analysis_metadata import FORMAT_VERSION, AnalysisMetadata
from preflens.records.analysis_schema import OBJECTIVES_SCHEMA, PAIRS_SCHEMA
from preflens.records.json_codec import to_json
from preflens.records.reading import check_rows, read_metadata, read_table, require_files, run_name
from preflens.records.storage import output_folder, write_table, write_together

ANALYSIS_FILES = ("analysis.json", "pairs.parquet", "objectives.parquet")
UNFINISHED_ANALYSIS = ".unfinished"  # folder of the finished parts of a run, beside these files
_COMMAND = "preflens analyze"


@dataclass(frozen=True)
class Analysis:
    """The result of an analysis.

    Attributes:
        pairs: one row per pair. Columns and units are in `preflens.records.analysis_schema`.
        objectives: one row per pair and objective.
        metadata: data, model, arguments and summaries.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from preflens import RunOptions, analyze
        >>> from preflens.demo.tiny_model import make_model, make_tokenizer
        >>> rows = [{"prompt": "the film was", "chosen": " good", "rejected": " bad"}]
        >>> tokenizer = make_tokenizer()
        >>> model = make_model(tokenizer, seed=0).eval()
        >>> with TemporaryDirectory() as folder:
        ...     _ = analyze(model, tokenizer, rows, run=RunOptions(out=folder, progress=False))
        ...     result = Analysis.load(folder)
        >>> result.pairs["id"].to_pylist(), result.metadata.data.pairs
        (['0'], 1)
    """

    pairs: pa.Table
    objectives: pa.Table
    metadata: AnalysisMetadata

    def save(self, folder: str | Path) -> None:
        """Write `pairs.parquet`, `objectives.parquet` and, last, `analysis.json`. All are written, or nothing changes.

        Args:
            folder: output folder. It is created if needed.
        """
        path, run = output_folder(Path(folder), ANALYSIS_FILES), run_name(self.metadata)
        write_together({
            path / "pairs.parquet": partial(write_table, self.pairs, run=run),
            path / "objectives.parquet": partial(write_table, self.objectives, run=run),
            path / "analysis.json": lambda file: file.write_text(to_json(self.metadata), encoding="utf-8"),
        })

    @classmethod
    def load(cls, folder: str | Path) -> "Analysis":
        """Read what `save` wrote. A file that is missing, damaged or of another format raises an `InputError`.

        Args:
            folder: folder of the files.

        Returns:
            The same analysis, bit for bit.
        """
        path = Path(folder)
        require_files(path, ANALYSIS_FILES, what="analysis", command=_COMMAND)
        metadata = read_metadata(AnalysisMetadata, path / "analysis.json", version=FORMAT_VERSION, command=_COMMAND)
        pairs, objectives = (
            read_table(path / name, schema, command=_COMMAND, run=run_name(metadata))
            for name, schema in zip(ANALYSIS_FILES[1:], (PAIRS_SCHEMA, OBJECTIVES_SCHEMA), strict=True)
        )
        count = metadata.data.pairs
        check_rows(path / "pairs.parquet", pairs, count, command=_COMMAND)
        check_rows(path / "objectives.parquet", objectives, count * len(metadata.objectives), command=_COMMAND)
        return cls(pairs, objectives, metadata)
