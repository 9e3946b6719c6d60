"""Models of a command line: TRL's reference by default, and the tokenizer first."""

import pytest

from preflens.cli.loading import load
from preflens.cli.options import DtypeName
from preflens.errors import InputError
from tests.cases.language_models import tiny_model, tiny_tokenizer

ASK = {"revision": None, "adapter": None, "dtype": DtypeName.FLOAT64, "device": "cpu", "chat_template": None}


def test_the_default_reference_is_that_of_trl(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    loaded = load(str(tmp_path), reference="", **ASK)
    assert (loaded.reference, str(loaded.model.dtype)) == ("self", "torch.float64")
    assert load(str(tmp_path), reference="none", **ASK).reference == "none"


def test_an_empty_folder_is_refused_by_its_tokenizer_first(tmp_path):
    with pytest.raises(InputError, match="The tokenizer of .* cannot be loaded"):
        load(str(tmp_path), reference="", **ASK)
