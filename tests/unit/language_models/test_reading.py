"""Where pairs come from: every kind of file, folders, memory; and what is wrong with the others."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

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
    with pytest.raises(ValueError, match="choose one with `--split`"):
        read_pairs(tmp_path / "split")


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
    assert (len(source.pairs), source.rows, dict(source.dropped)) == (2, 3, {"bad row": 1})


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
    refuse(tmp_path / "x.jsonl", "x.jsonl`, line 2: `chosen` should be a text.*--on-bad-row drop")


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
