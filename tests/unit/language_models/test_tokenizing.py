"""What is cut, dropped and noted, and what a tokenizer must have. Agreement with TRL has its own file."""

import pytest
import torch

from preflens.language_models.batch import collate
from preflens.language_models.loading import padding_token_id
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import TokenizedPair, _reason_to_drop, count_notes, tokenize_pairs
from tests.cases.language_models import tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS, chat_rows


def tokenized(rows, tokenizer=None, *, max_length=64, limit=None, on_bad_row=None):
    tokenizer, pairs = tokenizer or tiny_tokenizer(), pairs_in_memory(rows).pairs
    return tokenize_pairs(pairs, tokenizer, max_length=max_length, limit=limit, on_bad_row=on_bad_row)


def with_template(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def test_counts_say_what_was_cut_dropped_and_merged():
    found = tokenized(TEXT_ROWS, max_length=9)
    assert [p.pair.id for p in found.pairs] == ["sky", "dogs", "say", "same", "bound"]
    assert found.dropped == {"prompt fills the maximal length": 1}
    noted = count_notes(found.pairs)
    assert noted["identical responses"] == 1
    assert noted["end of the prompt merged into the responses"] == 1
    assert noted["rejected response cut at the maximal length"] >= 1
    assert next(p for p in found.pairs if p.pair.id == "same").notes == ("identical responses",)
    assert max(p.longest for p in found.pairs) == 9


def test_a_merged_boundary_moves_to_the_responses_and_loses_nothing():
    (pair,) = tokenized(TEXT_ROWS[4:5]).pairs
    decode = tiny_tokenizer().decode
    assert decode(pair.prompt_ids + pair.chosen_ids) == "the sky is blue</s>"
    assert decode(pair.prompt_ids) == "the sky is"


def test_end_of_sequence_is_appended_once():
    rows = [{"prompt": "a", "chosen": " b</s>", "rejected": " c"}]
    (pair,) = tokenized(rows).pairs
    assert pair.chosen_ids.count(2) == pair.rejected_ids.count(2) == 1


def test_template_decides_how_conversations_end():
    (pair,) = tokenized(chat_rows(TEXT_ROWS[:1])).pairs
    text = tiny_tokenizer().decode(pair.prompt_ids + pair.chosen_ids)
    assert text == "<user>the sky is</s><assistant> blue and the sea is green</s>"


def test_template_arguments_reach_the_template():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ mood }}" + tokenizer.chat_template
    row = chat_rows(TEXT_ROWS[:1])[0] | {"chat_template_kwargs": {"mood": "calm"}}
    (pair,) = tokenized([row], tokenizer).pairs
    assert tokenizer.decode(pair.prompt_ids).startswith("calm<user>")


def test_limit_stops_at_so_many_usable_pairs():
    found = tokenized(TEXT_ROWS[::-1], max_length=12, limit=2)
    assert [p.pair.id for p in found.pairs] == ["bound", "same"]
    assert found.dropped == {"prompt fills the maximal length": 1}


def test_without_a_prompt_the_first_token_is_not_scored():
    (pair,) = tokenized([{"prompt": "", "chosen": "the sky", "rejected": "no"}]).pairs
    assert pair.prompt_ids == ()
    assert pair.scored_tokens == (len(pair.chosen_ids) - 1, len(pair.rejected_ids) - 1)
    batch = collate([pair], pad_token_id=0)
    assert tuple(batch.tokens.tolist()) == pair.scored_tokens


@pytest.mark.parametrize(("chosen", "rejected"), [((), (5, 6)), ((5, 6), ())])
def test_either_response_needs_a_scored_token(chosen, rejected):
    pair = TokenizedPair(PreferencePair("a", "", "", ""), (3, 4), chosen, rejected)
    assert _reason_to_drop(pair, 8) == "a response without a scored token"


def test_all_rows_dropped_is_an_error_with_the_reasons():
    with pytest.raises(ValueError, match="No usable pair is left: 1 × prompt fills the maximal length.*is 4 tokens"):
        tokenized(TEXT_ROWS[-1:], max_length=4)


def test_conversations_need_a_chat_template():
    with pytest.raises(ValueError, match="Pair `sky` consists of messages.*`chat_template`"):
        tokenized(chat_rows(), tiny_tokenizer(chat=False))


def test_a_template_that_is_none_is_no_fault_of_a_row():
    for on_bad_row in (None, "stop", "drop"):
        with pytest.raises(ValueError, match="^The chat template is none: .*endfor"):
            tokenized(chat_rows(), with_template("{% for m in messages %}"), on_bad_row=on_bad_row)


# What a template may stumble over, by itself or because Python does.
STUMBLES = {
    "refuses a role": "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}hi",
    "adds to nothing": "{{ messages[0].missing.more }}hi",
    "calls what is none": "{% if messages[0].role == 'system' %}{{ messages[0].content() }}{% endif %}hi",
    "divides by zero": "{% if messages[0].role == 'system' %}{{ 1 / 0 }}{% endif %}hi",
    "adds unlike kinds": "{% if messages[0].role == 'system' %}{{ 'a' + 1 }}{% endif %}hi",
}


@pytest.mark.parametrize("template", STUMBLES.values(), ids=STUMBLES)
def test_a_row_that_the_template_fails_on_is_named_or_dropped(template):
    rows = [
        row | {"chosen": [{"role": "assistant", "content": "a", "missing": {"more": ""}}]} for row in chat_rows()[:3]
    ]
    rows = [row | {"prompt": [{"missing": {"more": ""}, **row["prompt"][0]}]} for row in rows]
    rows[1] = rows[1] | {"prompt": [{"role": "system", "content": "be brief"}]}
    tokenizer = with_template(template + "{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(ValueError, match="^row 1: the chat template fails on it: [^.]*.$"):
        tokenized(rows, tokenizer)
    with pytest.raises(ValueError, match="^row 1: the chat template fails.* skip such rows with `on_bad_row="):
        tokenized(rows, tokenizer, on_bad_row="stop")
    found = tokenized(rows, tokenizer, on_bad_row="drop")
    ((reason, count),) = found.dropped.items()
    assert [p.pair.id for p in found.pairs] == ["sky", "say"]
    assert count == 1
    assert reason.startswith("bad row, the first is row 1: the chat template fails on it")


def test_arguments_that_the_template_cannot_be_given_are_a_fault_of_the_row():
    row = chat_rows()[0] | {"chat_template_kwargs": {"add_generation_prompt": True}}
    with pytest.raises(
        ValueError, match="row 0: .*should hold variables of the template. Found `add_generation_prompt`"
    ):
        tokenized([row])


def test_half_of_a_character_in_a_ready_pair_is_a_fault_of_the_pair():
    pair = PreferencePair("a", "p", "c\ud800", "r")
    with pytest.raises(ValueError, match="Pair `a`: the tokenizer cannot read its text"):
        tokenize_pairs([pair], tiny_tokenizer(), max_length=9)


def test_prompts_of_one_token_or_none_are_counted():
    rows = [{"prompt": prompt, "chosen": " ran over", "rejected": " over"} for prompt in ("", "a", "two dogs")]
    assert count_notes(tokenized(rows).pairs) == {"prompt of at most one token": 2}


def test_without_a_maximal_length_nothing_is_cut():
    assert tokenized(TEXT_ROWS, max_length=None) == tokenized(TEXT_ROWS, max_length=999)


def test_texts_need_an_end_of_sequence_token():
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        tokenized(TEXT_ROWS, tokenizer)


def test_padding_falls_back_to_the_end_of_sequence_as_in_trl_and_else_is_an_error():
    tokenizer = tiny_tokenizer(pad=None)
    assert padding_token_id(tokenizer) == tokenizer.eos_token_id
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="neither a padding token nor an end-of-sequence token"):
        padding_token_id(tokenizer)


def test_collated_rows_are_chosen_first_and_padded_on_the_right():
    pairs = tokenized(TEXT_ROWS[:2]).pairs
    batch = collate(pairs, pad_token_id=0)
    for row, (pair, ids) in enumerate([(p, p.chosen_ids) for p in pairs] + [(p, p.rejected_ids) for p in pairs]):
        whole = pair.prompt_ids + ids
        assert tuple(batch.input_ids[row, : len(whole)].tolist()) == whole
        assert batch.attention_mask[row].sum() == len(whole)
        assert torch.equal(batch.completion_mask[row].nonzero()[:, 0], torch.arange(len(pair.prompt_ids), len(whole)))
