"""`preflens report` on what is no finished run: one line that names what is wrong, and exit code 2."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preflens.records.comparison import COMPARISON_FILES
from tests.cases import analyses, comparisons

ANALYSED = ("analysis.json", "pairs.parquet", "objectives.parquet")
COMPARED = COMPARISON_FILES


@pytest.fixture
def saved(tmp_path):
    """A folder with an analysis and one with a comparison, by the name of a file in them."""

    def make(name):
        kind, folder = (analyses, "a") if name in ANALYSED else (comparisons, "c")
        kind.typical().save(tmp_path / folder)
        return tmp_path / folder

    return make


@pytest.fixture
def refused(preflens):
    def check(*arguments, words):
        code, out, err = preflens("report", *arguments)
        assert code == 2, (out, err)
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert words in err

    return check


DAMAGES = {
    "cut off": lambda whole: whole[: len(whole) // 2],
    "empty": lambda _: b"",
    "zeros": lambda whole: bytes(len(whole)),
    "no text": lambda _: b"\xff\xfe\x00",
    "a page": lambda _: b"<html></html>",
    "another JSON": lambda _: b'{"format_version": 3}',
    "a list": lambda _: b"[1, 2]",
    "a number": lambda _: b"3",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*ANALYSED, *COMPARED])
def test_a_file_that_is_damaged_or_something_else(saved, refused, name, damage):
    folder = saved(name)
    (folder / name).write_bytes(DAMAGES[damage]((folder / name).read_bytes()))
    refused(folder, words=f"{folder / name}` cannot be read")


@pytest.mark.parametrize("name", [*ANALYSED, *COMPARED])
def test_a_file_that_is_missing_or_a_folder(saved, refused, name):
    folder = saved(name)
    (folder / name).unlink()
    refused(folder, words=f"{name} not found" if name.endswith("parquet") else f"({name})")
    (folder / name).mkdir()
    refused(folder, words=f"{name} not found" if name.endswith("parquet") else f"({name})")


@pytest.mark.parametrize("name", [name for name in (*ANALYSED, *COMPARED) if name.endswith("parquet")])
def test_a_table_of_something_else(saved, refused, name):
    folder = saved(name)
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), folder / name)
    refused(folder, words=f"{folder / name}` has no column `")


@pytest.mark.parametrize("name", ["analysis.json", "compare.json"])
def test_an_older_and_a_newer_record(saved, refused, name):
    folder = saved(name)
    record = json.loads((folder / name).read_text())
    for version in (0, 99):
        (folder / name).write_text(json.dumps(record | {"format_version": version}))
        refused(folder, words=f"has format {version}, written by preflens")


@pytest.mark.parametrize(("name", "other"), [("analysis.json", "compare.json"), ("compare.json", "analysis.json")])
def test_facts_of_the_other_command(saved, refused, name, other):
    folder = saved(name)
    (folder / name).write_bytes((saved(other) / other).read_bytes())
    refused(folder, words=f"{folder / name}` cannot be read (")


def test_a_folder_that_is_not_there_and_a_file_for_a_folder(refused, tmp_path):
    words = "holds no finished analysis (analysis.json) and no finished comparison (compare.json)."
    (tmp_path / "file").touch()
    for place in ("nowhere", "file", "x" * 300):
        refused(tmp_path / place, words=words)


def test_an_unfinished_run_is_named(refused, tmp_path):
    (tmp_path / ".unfinished-compare").mkdir()
    (tmp_path / ".unfinished-compare" / "run.json").touch()
    refused(tmp_path, words="The run in .unfinished-compare is not finished. Its own command continues it.")


def test_a_page_that_cannot_be_written(saved, refused, tmp_path):
    folder = saved("analysis.json")
    (tmp_path / "page").mkdir()
    (tmp_path / "file").touch()
    refused(folder, "--out", tmp_path / "page", words=f"Cannot write `{tmp_path / 'page'}`: Is a directory")
    refused(folder, "--out", tmp_path / "file" / "page", words="Cannot write to the output folder")
