"""Where pairs come from: every kind of file, folders, memory; and what is wrong with the others."""

import csv
import gzip
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, Features, Image, List, Value

from preflens import read_pairs
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.reading import pairs_in_memory
from tests.cases.pairs import TEXT_ROWS, chat_rows


def write_jsonl(path, rows):
    path.write_text("\n".join(json.dumps(r) for r in rows) + "\n", encoding="utf-8")


def write(kind, folder, rows):
    path = folder / f"pairs.{kind}"
    if kind == "jsonl":
        write_jsonl(path, rows)
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress("\n\n".join(json.dumps(r) for r in rows).encode()))
    elif kind == "json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "parquet", "csv"])
def test_every_kind_of_file_gives_the_same_pairs(kind, tmp_path):
    source = read_pairs(write(kind, tmp_path, TEXT_ROWS))
    assert source.pairs == pairs_in_memory(TEXT_ROWS).pairs
    assert (source.rows, dict(source.dropped)) == (len(TEXT_ROWS), {})


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_messages_survive_every_kind_of_file_that_can_hold_them(kind, tmp_path):
    assert read_pairs(write(kind, tmp_path, chat_rows())).pairs == pairs_in_memory(chat_rows()).pairs


def test_folder_of_save_to_disk_and_its_splits(tmp_path):
    whole = Dataset.from_list(TEXT_ROWS)
    whole.save_to_disk(tmp_path / "plain")
    DatasetDict(train=whole, test=whole.select([0])).save_to_disk(tmp_path / "split")
    assert len(read_pairs(tmp_path / "plain").pairs) == len(TEXT_ROWS)
    assert len(read_pairs(tmp_path / "split").pairs) == len(TEXT_ROWS)
    assert len(read_pairs(tmp_path / "split", split="test").pairs) == 1
    with pytest.raises(ValueError, match="has no split `dev`. It has `train`, `test`"):
        read_pairs(tmp_path / "split", split="dev")
    with pytest.raises(ValueError, match="saved without splits"):
        read_pairs(tmp_path / "plain", split="dev")


def test_split_must_be_chosen_where_none_is_the_obvious_one(tmp_path):
    whole = Dataset.from_list(TEXT_ROWS)
    DatasetDict(dev=whole, test=whole).save_to_disk(tmp_path / "split")
    with pytest.raises(ValueError, match="choose one as `split`"):
        read_pairs(tmp_path / "split")


def test_pictures_of_a_data_set_are_refused_by_name_and_not_decoded(tmp_path):
    kinds = {"prompt": Value("string"), "chosen": Value("string"), "rejected": Value("string"), "views": List(Image())}
    broken = {"prompt": ["p"], "chosen": ["c"], "rejected": ["r"], "views": [[{"path": None, "bytes": b"no picture"}]]}
    Dataset.from_dict(broken, features=Features(kinds)).save_to_disk(tmp_path / "seen")
    with pytest.raises(ValueError, match="seen`: column `views` is `List.Image.*only text is read"):
        read_pairs(tmp_path / "seen")


def test_folder_of_data_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "files").mkdir()
    write("parquet", tmp_path / "files", TEXT_ROWS)
    assert len(read_pairs(tmp_path / "files").pairs) == len(TEXT_ROWS)


def test_memory_takes_dicts_data_sets_and_pairs():
    pairs = pairs_in_memory(TEXT_ROWS).pairs
    assert pairs_in_memory(Dataset.from_list(TEXT_ROWS)).pairs == pairs
    assert pairs_in_memory(pairs).pairs == pairs
    with pytest.raises(ValueError, match="No preference pairs were given"):
        pairs_in_memory([])


def test_repeated_ids_are_made_unique_and_counted():
    source = pairs_in_memory([PreferencePair("a", "p", "c", "r")] * 2 + [PreferencePair("b", "p", "c", "r")])
    assert [p.id for p in source.pairs] == ["a#0", "a#1", "b"]
    assert source.noted == {"repeated id": 2}


def test_bad_rows_can_be_dropped_and_are_counted(tmp_path):
    write_jsonl(tmp_path / "x.jsonl", [TEXT_ROWS[0], {"chosen": 3, "rejected": "r"}, TEXT_ROWS[1]])
    source = read_pairs(tmp_path / "x.jsonl", on_bad_row="drop")
    ((reason, count),) = source.dropped.items()
    assert (len(source.pairs), source.rows, count) == (2, 3, 1)
    assert re.match("bad row, the first is .*x.jsonl`, line 2: `chosen` should be a text", reason)


BAD_LINES = [
    b'{"chosen": "a", "rejected": ',
    b"[1]",
    b'"text"',
    b'{"chosen": "\xff", "rejected": "r"}',
    b'{"chosen": "\\ud800", "rejected": "r"}',
    b'{"chosen": "c", "rejected": ""}',
    b'{"chosen": "c", "rejected": "r", "images": ["dog.png"]}',
    b'{"chosen": "c", "rejected": "r", "question": "why?"}',
    b"[" * 100_000,
    b'{"chosen": ' + b"1" * 5000 + b"}",
]


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_every_kind_of_bad_line_is_named_or_dropped_and_the_others_stay(line, tmp_path):
    good = [json.dumps(row).encode() for row in TEXT_ROWS[:2]]
    (tmp_path / "x.jsonl").write_bytes(b"\n".join([good[0], line, good[1]]))
    refuse(tmp_path / "x.jsonl", 'x.jsonl`, line 2.*`on_bad_row="drop"`')
    source = read_pairs(tmp_path / "x.jsonl", on_bad_row="drop")
    assert [pair.id for pair in source.pairs] == [row["id"] for row in TEXT_ROWS[:2]]
    assert (source.rows, list(source.dropped.values())) == (3, [1])


def test_rows_of_arrays_and_csv_files_are_dropped_too(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps([TEXT_ROWS[0], 3]))
    (tmp_path / "x.csv").write_text("prompt,chosen,rejected\na,b,c,d\na,b,c\n")
    for name in ("x.json", "x.csv"):
        source = read_pairs(tmp_path / name, on_bad_row="drop")
        assert (len(source.pairs), source.rows, source.on_bad_row) == (1, 2, "drop")


def test_an_object_over_several_lines_is_told_from_a_broken_line(tmp_path):
    row = json.dumps(TEXT_ROWS[0], indent=1)
    for text in (row, f"{json.dumps(TEXT_ROWS[1])}\n{row}\n{row}"):
        (tmp_path / "x.json").write_text(text)
        for choice in ("stop", "drop"):
            refuse(tmp_path / "x.json", "a JSON object over several lines. Expected an array", on_bad_row=choice)
    (tmp_path / "x.json").write_text(json.dumps({"version": 1, "data": TEXT_ROWS}, indent=1))
    refuse(tmp_path / "x.json", "line 1: a JSON object over several lines.*Its `data` is an array: save that by itself")


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(TEXT_ROWS[0]).encode())
    assert read_pairs(tmp_path / "x.jsonl").pairs[0].id == "sky"


def refuse(path, message, **arguments):
    with pytest.raises(ValueError, match=message):
        read_pairs(path, **arguments)


def test_missing_files_are_named(tmp_path):
    refuse(tmp_path / "none.jsonl", "There is no file or folder `.*none.jsonl`")
    refuse("none.parquet", "There is no file or folder `none.parquet`")


def test_a_name_that_is_neither_here_nor_reachable_says_so():
    refuse("nobody/nothing", "`nobody/nothing` is no readable file or folder here, and no reachable data set")


def test_empty_and_fruitless_files_are_named(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    refuse(tmp_path / "empty.jsonl", "is empty: it holds no row")
    write_jsonl(tmp_path / "bad.jsonl", [{"chosen": "", "rejected": "r"}])
    refuse(tmp_path / "bad.jsonl", "all 1 rows were dropped as bad.*line 1: `chosen` is empty", on_bad_row="drop")


def test_bad_rows_are_named_by_line_with_a_way_out(tmp_path):
    write_jsonl(tmp_path / "x.jsonl", [TEXT_ROWS[0], {"chosen": 3, "rejected": "r"}])
    refuse(tmp_path / "x.jsonl", 'x.jsonl`, line 2: `chosen` should be a text.*`on_bad_row="drop"`')


def test_broken_json_is_named_by_line(tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps(TEXT_ROWS[0]) + '\n{"chosen": \n')
    refuse(tmp_path / "x.jsonl", "x.jsonl`, line 2: not JSON")
    (tmp_path / "y.json").write_text('[{"chosen": "a"},\n{"rejected" 1}]')
    refuse(tmp_path / "y.json", "y.json`, line 2: not JSON")
    (tmp_path / "z.jsonl").write_text("[1]")
    refuse(tmp_path / "z.jsonl", "row 0: expected a JSON object. Found int")
    (tmp_path / "w.jsonl").write_text('"text"')
    refuse(tmp_path / "w.jsonl", "line 1: expected a JSON object. Found str")


def test_broken_gzip_is_named(tmp_path):
    path = write("jsonl.gz", tmp_path, TEXT_ROWS)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refuse(path, "is not a whole gzip file")
    path.write_bytes(b"not gzip at all")
    refuse(path, "is not a whole gzip file")


def test_other_broken_files_are_named(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing")
    refuse(tmp_path / "x.parquet", "is not a Parquet file that can be read")
    (tmp_path / "x.jsonl").write_bytes(b'{"chosen": "\xff"}')
    refuse(tmp_path / "x.jsonl", "is not UTF-8 text")
    (tmp_path / "x.xlsx").write_bytes(b"")
    refuse(tmp_path / "x.xlsx", "is not a kind of file that can be read. Expected .json")
    (tmp_path / "x.csv").write_text('chosen,rejected\n"a,b\n')
    refuse(tmp_path / "x.csv", "after line 1: not CSV")
    (tmp_path / "y.csv").write_text("chosen,rejected\na,b,c\n")
    refuse(tmp_path / "y.csv", "line 2: more cells than the header has columns")
    (tmp_path / "z.csv").write_text("chosen,rejected\na\n")
    refuse(tmp_path / "z.csv", "line 2: `rejected` should be a text.*Found null")


def test_long_cells_of_csv_files_are_read(tmp_path):
    (tmp_path / "x.csv").write_text("prompt,chosen,rejected\n" + "a" * 200000 + ",b,c\n")
    assert len(read_pairs(tmp_path / "x.csv").pairs[0].prompt) == 200000


def test_a_split_of_a_file_is_refused(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(TEXT_ROWS[0]))
    assert len(read_pairs(path, split="train").pairs) == 1
    with pytest.raises(ValueError, match="is a file and has no split `test`"):
        read_pairs(path, split="test")
