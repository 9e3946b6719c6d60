"""What data, names of columns and names of files hide is spelt out wherever a command shows it."""

import os

import pytest

from preflens import Analysis
from preflens.records.comparison import Comparison
from preflens.records.visible_characters import visible
from tests.cases.analyses import HIDDEN
from tests.cases.pairs import TEXT_ROWS
from tests.end_to_end.conftest import write_rows

ROWS = [row | {"id": f"{HIDDEN}{row['id']}", "prompt": f"{HIDDEN} {row['prompt']}"} for row in TEXT_ROWS]
BAD = {"chosen": "c", f"re{HIDDEN}jected": "r"}


@pytest.fixture(params=[HIDDEN, os.fsdecode(b"\xff")], ids=["controls", "no UTF-8"])
def files(request, tmp_path):
    """A file of such a name with good rows and a bad one, and an output folder."""
    return write_rows(tmp_path / f"pairs{request.param}:x:[red].jsonl", [*ROWS, BAD]), tmp_path / f"out{HIDDEN}[red]"


def shows_everything(*streams):
    for stream in streams:
        assert visible(stream) == stream


def page_of(path):
    return path.read_text(encoding="utf-8").split("<body>")[1]


@pytest.mark.parametrize(
    ("command", "kind", "page"), [("analyze", Analysis, "report"), ("compare", Comparison, "compare")]
)
def test_terminal_and_page_spell_out_what_is_hidden(command, kind, page, preflens, place, files):
    data, out = files
    more = ["--no-progress", *(["--objectives", "dpo,simpo"] if command == "compare" else [])]
    code, told, err = preflens(
        command, "--model", place / "model", "--data", data, "--out", out, "--on-bad-row", "drop", *more
    )  # fmt: skip
    assert code == 0, err
    shows_everything(told, err, page_of(out / f"{page}.html"))
    assert "bad row, the first is `" in told
    assert "re<U+202E><U+2066>␛[31m<U+009B><U+200B><U+202C>jected" in told
    assert ":x:[red].jsonl" in told
    assert str(data) in kind.load(out).metadata.data.source
    code, told, err = preflens("report", out)
    assert code == 0, err
    shows_everything(told, err)


def test_an_error_spells_out_what_is_hidden(preflens, place, files):
    data, out = files
    code, told, err = preflens("analyze", "--model", place / "model", "--data", data, "--out", out, "--no-progress")
    assert (code, told) == (2, "")
    shows_everything(err)
    assert err.startswith("error: `")
    assert "Found `chosen`, `re<U+202E><U+2066>␛[31m" in err
