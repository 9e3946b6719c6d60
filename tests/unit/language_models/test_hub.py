"""Data sets of the `datasets` library, saved to disk."""

import datasets
import pytest

from preflens.errors import InputError
from preflens.language_models.hub import load_data_set

ROWS = datasets.Dataset.from_list([{"chosen": "a", "rejected": "b"}])


def load(folder, split=None):
    return list(load_data_set(str(folder), split=split, config=None))


def test_the_split_train_is_the_default_and_others_are_named(tmp_path):
    datasets.DatasetDict({
        "train": ROWS,
        "test": datasets.Dataset.from_list([{"chosen": "t", "rejected": "b"}]),
    }).save_to_disk(tmp_path / "x")
    assert load(tmp_path / "x")[0]["chosen"] == "a"
    assert load(tmp_path / "x", "test")[0]["chosen"] == "t"
    with pytest.raises(InputError, match="has no split `dev`. It has `train`, `test`"):
        load(tmp_path / "x", "dev")


def test_several_splits_without_train_need_a_choice(tmp_path):
    datasets.DatasetDict({"a": ROWS, "b": ROWS}).save_to_disk(tmp_path / "x")
    with pytest.raises(InputError, match="has the splits `a`, `b`; choose one as `split`") as caught:
        load(tmp_path / "x")
    assert caught.value.arguments == ("split",)


def test_a_folder_without_splits_has_none_and_columns_with_media_are_refused(tmp_path):
    ROWS.save_to_disk(tmp_path / "x")
    assert load(tmp_path / "x", "train") == [{"chosen": "a", "rejected": "b"}]
    with pytest.raises(InputError, match="was saved without splits; it has no `test`"):
        load(tmp_path / "x", "test")
    features = datasets.Features({"image": datasets.Image(), "chosen": datasets.Value("string")})
    datasets.Dataset.from_dict({"image": [None], "chosen": ["a"]}, features).save_to_disk(tmp_path / "media")
    with pytest.raises(InputError, match=r"column `image` is `Image\(.*only text is read"):
        load(tmp_path / "media")
