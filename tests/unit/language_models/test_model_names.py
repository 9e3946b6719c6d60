"""Names of models: what is said of names that cannot be loaded."""

import json

import pytest

from preflens.errors import InputError
from preflens.language_models.model_names import ADAPTER_FILE, adapter_alone, check_folder, first_line, is_adapter


def test_folders_are_checked_and_hub_ids_pass(tmp_path):
    check_folder("owner/name", "config.json", "a model")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="holds no model: config.json is missing. Found notes.txt"):
        check_folder(str(tmp_path), "config.json", "a model")
    with pytest.raises(InputError, match="There is no folder `.*/x` to load a model from"):
        check_folder(str(tmp_path / "x"), "config.json", "a model")


def test_an_adapter_in_the_place_of_a_model_names_its_base(tmp_path):
    (tmp_path / ADAPTER_FILE).write_text(json.dumps({"base_model_name_or_path": "owner/base"}))
    assert is_adapter(str(tmp_path))
    assert "(it says `owner/base`)" in adapter_alone(str(tmp_path))
    with pytest.raises(InputError, match="holds an adapter, not a whole model"):
        check_folder(str(tmp_path), "config.json", "a model")
    check_folder(str(tmp_path), ADAPTER_FILE, "an adapter")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyError("weight"), "`weight` is missing"),
        (ValueError("One.\nTwo."), "One"),
        (RuntimeError("Error(s) in loading state_dict for X:\n\tsize mismatch."), "size mismatch"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_first_line_that_informs_is_taken(error, line):
    assert first_line(error) == line
