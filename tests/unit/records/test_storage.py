"""Files that are either complete or not there."""

import pytest

from preflens.records.storage import output_folder, write_atomically


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "x.txt"
    write_atomically(path, lambda p: p.write_text("old"))

    def fail(p):
        p.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_with_its_parents(tmp_path):
    assert output_folder(tmp_path / "a" / "b").is_dir()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "under"):
        with pytest.raises(ValueError, match="Cannot write to the output folder `.*file"):
            output_folder(place)
