"""Rows of a data set, wherever it lies: files, a folder that `datasets` saved, the hub, or memory."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from preflens.errors import InputError
from preflens.language_models.files import Row, file_rows
from preflens.language_models.hub import load_data_set
from preflens.language_models.pairs import PreferencePair, preference_pair

OnBadRow = Literal["stop", "drop"]


@dataclass(frozen=True)
class PairSource:
    """The pairs of a data set.

    Attributes:
        name: where they came from.
        pairs: the usable rows, in order, their ids made unique.
        rows: how many rows there were.
        dropped: rows left out, by reason.
        noted: rows kept in spite of something worth knowing, by what.
    """

    name: str
    pairs: tuple[PreferencePair, ...]
    rows: int
    dropped: Mapping[str, int]
    noted: Mapping[str, int]


Pairs = PairSource | Iterable[Mapping[str, object] | PreferencePair]


def read_pairs(
    data: str | Path, *, split: str | None = None, config: str | None = None, on_bad_row: OnBadRow = "stop"
) -> PairSource:
    """Read preference pairs.

    Args:
        data: a json, jsonl (also .gz), parquet or csv file, a folder written by `save_to_disk`, or a hub id.
        split: split of a folder or hub data set; `train` if there is one.
        config: configuration of a hub data set.
        on_bad_row: `stop` raises at a row that cannot be used; `drop` leaves it out and counts it.

    Returns:
        The pairs and what became of the other rows.

    Raises:
        InputError: nothing is there, it cannot be read, or (with `stop`) a row is bad.
    """
    check_data(data)
    path = Path(data)
    if path.is_file():
        return pairs_from_rows(file_rows(path), name=str(data), on_bad_row=on_bad_row)
    rows = load_data_set(str(data), split=split, config=config)
    numbered = ((f"`{data}`, row {i}", row) for i, row in enumerate(rows))
    return pairs_from_rows(numbered, name=str(data), on_bad_row=on_bad_row)


def check_data(data: str | Path) -> None:
    """Refuse, before anything is read, a path where nothing lies; names that may be hub ids pass.

    Args:
        data: as for `read_pairs`.

    Raises:
        InputError: nothing is there.
    """
    if not Path(data).exists() and _looks_like_a_file(str(data)):
        raise InputError(f"There is no file or folder `{data}`.")


def pair_source(pairs: Pairs) -> PairSource:
    """Take pairs in any of the forms they come in.

    Args:
        pairs: what `read_pairs` returned, or rows in TRL's columns (a list of dicts, a `datasets.Dataset`).

    Returns:
        The pairs and what became of the other rows.
    """
    return pairs if isinstance(pairs, PairSource) else pairs_in_memory(pairs)


def pairs_in_memory(rows: Iterable[Mapping[str, object] | PreferencePair], *, name: str = "memory") -> PairSource:
    """Take pairs from any iterable of rows: a list of dicts, a `datasets.Dataset`, or ready pairs.

    Args:
        rows: rows in TRL's columns, or pairs.
        name: what to call the source.

    Returns:
        The pairs; a bad row raises.

    Raises:
        InputError: there is no row, or a bad one.
    """
    pairs = [
        row if isinstance(row, PreferencePair) else preference_pair(row, number=i, place=f"row {i}")
        for i, row in enumerate(rows)
    ]
    if not pairs:
        raise InputError("No preference pairs were given.")
    return _source(name, pairs, rows=len(pairs), dropped={})


def pairs_from_rows(rows: Iterable[Row], *, name: str, on_bad_row: OnBadRow = "stop") -> PairSource:
    """Check rows and make them pairs.

    Args:
        rows: each with the place it stands in, for messages.
        name: what to call the source.
        on_bad_row: `stop` or `drop`.

    Returns:
        The pairs.

    Raises:
        InputError: there is no row, no usable row, or (with `stop`) a bad row.
    """
    pairs: list[PreferencePair] = []
    bad, total, last = 0, 0, ""
    for number, (place, row) in enumerate(rows):
        total += 1
        try:
            pairs.append(preference_pair(row, number=number, place=place))
        except InputError as error:
            if on_bad_row == "stop":
                raise InputError(f"{error} Mend the row, or leave such rows out with `--on-bad-row drop`.") from None
            bad, last = bad + 1, str(error)
    if total == 0:
        raise InputError(f"`{name}` is empty: it holds no row.")
    if not pairs:
        raise InputError(f"`{name}`: all {total} rows were dropped as bad. The last one: {last}")
    return _source(name, pairs, rows=total, dropped={"bad row": bad} if bad else {})


def _source(name: str, pairs: Sequence[PreferencePair], *, rows: int, dropped: Mapping[str, int]) -> PairSource:
    """Make ids unique: a repeated id gets the position of its pair, so that tables can be joined on it."""
    counts = Counter(pair.id for pair in pairs)
    unique, repeated = [], 0
    for position, pair in enumerate(pairs):
        again = counts[pair.id] > 1
        unique.append(replace(pair, id=f"{pair.id}#{position}") if again else pair)
        repeated += again
    return PairSource(name, tuple(unique), rows, dropped, {"repeated id": repeated} if repeated else {})


def _looks_like_a_file(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).suffix in {
        ".json", ".jsonl", ".gz", ".parquet", ".csv", ".arrow", ".txt"
    }  # fmt: skip
