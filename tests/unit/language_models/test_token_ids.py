"""Token ids of one pair; equality with TRL is tested beside."""

import pytest

from preflens.errors import InputError
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.token_ids import RowError, check_tokenizer, common_prefix_length, token_ids
from tests.cases.language_models import tiny_tokenizer

PAIR = PreferencePair("0", "the film", " was good", " was bad")


def test_prompt_and_responses_are_cut_from_the_whole_texts():
    tokenizer = tiny_tokenizer()
    prompt, chosen, rejected, moved = token_ids(PAIR, tokenizer)
    for response, ids in ((PAIR.chosen, chosen), (PAIR.rejected, rejected)):
        assert list(prompt + ids) == tokenizer(f"{PAIR.prompt}{response}{tokenizer.eos_token}")["input_ids"]
    assert moved == (len(prompt) < len(tokenizer(PAIR.prompt)["input_ids"]))


def test_a_common_prefix_ends_at_the_first_difference_or_with_the_shorter_one():
    assert common_prefix_length([1, 2, 3], [1, 2, 4]) == 2
    assert common_prefix_length([1, 2], [1, 2, 4]) == 2
    assert common_prefix_length([], [1]) == 0


def test_a_template_that_fails_on_a_pair_is_an_error_of_its_row_and_a_missing_one_is_not():
    turns = [{"role": "user", "content": "hi"}]
    pair = PreferencePair("7", turns, turns, turns)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(RowError, match="Pair `7`: the chat template fails on it: no"):
        token_ids(pair, tokenizer)
    tokenizer.chat_template = "{% for"
    with pytest.raises(InputError, match="The chat template is none: .* Fix it") as caught:
        token_ids(pair, tokenizer)
    assert not isinstance(caught.value, RowError)
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="the tokenizer has no chat template"):
        check_tokenizer(pair, tokenizer)


@pytest.mark.parametrize(
    "name", ["return_tensors", "truncation", "padding", "max_length", "tokenize", "add_generation_prompt"]
)
def test_a_row_sets_variables_of_the_template_and_not_what_the_tokenizer_returns(name):
    turns, answer = [{"role": "user", "content": "hi"}], [{"role": "assistant", "content": "yes"}]
    tokenizer = tiny_tokenizer(chat=True)
    pair = PreferencePair("7", turns, answer, answer, template_arguments={name: True})
    with pytest.raises(RowError, match=f"should hold variables of the template. Found `{name}`"):
        token_ids(pair, tokenizer)
    with_variable = PreferencePair("7", turns, answer, answer, template_arguments={"enable_thinking": True})
    assert token_ids(with_variable, tokenizer)[0]
