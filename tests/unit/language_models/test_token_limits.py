"""Rows that do not fit a model are named before the model is loaded."""

import pytest

from preflens.errors import InputError
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.token_limits import TokenLimits
from preflens.language_models.tokenizing import TokenizedPair
from tests.cases.language_models import tiny_model


def pair(prompt, chosen, rejected):
    return TokenizedPair(PreferencePair("a", "", "", "", place="`x.jsonl`, line 3"), prompt, chosen, rejected)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt", "gpt_neox"])
def test_room_is_read_off_the_configuration(kind, tmp_path):
    tiny_model(kind).save_pretrained(tmp_path)
    assert TokenLimits.of(str(tmp_path)) == TokenLimits(320, 96)


def test_a_folder_without_a_configuration_is_named(tmp_path):
    with pytest.raises(InputError, match=f"The model `{tmp_path}` cannot be loaded"):
        TokenLimits.of(str(tmp_path))


@pytest.mark.parametrize("place", range(3))
def test_a_token_beyond_the_vocabulary_is_named_with_its_row(place):
    ids = [(1, 2), (3,), (4,)]
    TokenLimits(5, None).check([pair(*ids)], max_length=None)
    ids[place] = (5,)
    with pytest.raises(InputError, match="`x.jsonl`, line 3: .* produced token 5, and the model knows only 5 tokens"):
        TokenLimits(5, None).check([pair(*ids)], max_length=None)


def test_a_row_beyond_the_context_is_named_with_the_argument_that_cuts_it():
    row = pair((1, 2), (3,), (3, 4))
    TokenLimits(None, 4).check([row], max_length=None)
    TokenLimits(None, 3).check([row], max_length=3)
    with pytest.raises(
        InputError, match="`x.jsonl`, line 3 has 4 tokens, .* positions for 3.*`max_length=3`"
    ) as caught:
        TokenLimits(None, 3).check([row], max_length=1024)
    assert caught.value.with_flags({"max_length": "--max_length"}).endswith("`--max_length 3`, or less.")
