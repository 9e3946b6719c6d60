"""Token ids of one pair: prompt, chosen and rejected response."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import PreTrainedTokenizerBase

from preflens.errors import InputError
from preflens.language_models.model_names import first_line
from preflens.language_models.pairs import PreferencePair

# Exceptions of a chat template, and of Python inside it on values that it was not written for.
_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


# Arguments of `apply_chat_template` that are no variables of the template: a row that sets one would change its ids.
_RESERVED = frozenset(signature(PreTrainedTokenizerBase.apply_chat_template).parameters) - {
    "self", "tools", "documents", "chat_template", "kwargs",
}  # fmt: skip


class RowError(InputError):
    """An error of a single pair."""


def common_prefix_length(ids: Sequence[int], other_ids: Sequence[int]) -> int:
    """Return the number of tokens that two sequences share at their beginning.

    Args:
        ids: one sequence.
        other_ids: the other.

    Returns:
        The number of tokens.

    Example:
        >>> common_prefix_length([1, 2, 3], [1, 2, 4, 5])
        2
    """
    return next(
        (i for i, (a, b) in enumerate(zip(ids, other_ids, strict=False)) if a != b), min(len(ids), len(other_ids))
    )


def token_ids(
    pair: PreferencePair, tokenizer: PreTrainedTokenizerBase
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bool]:
    """Tokenize a pair as TRL 1.16's DPOTrainer, without truncation.

    Args:
        pair: the pair.
        tokenizer: the tokenizer of the model; not changed.

    Returns:
        Prompt, chosen and rejected ids, and whether tokens at the end of the prompt were merged into the responses.

    Raises:
        InputError: the chat template has a syntax error.
        RowError: the chat template or the tokenizer fails on this pair.
    """
    if pair.conversational:
        turns = [*pair.prompt]
        prompt = _conversation_ids(turns, pair, tokenizer, add_generation_prompt=True)
        rows = [_conversation_ids([*turns, *side], pair, tokenizer) for side in (pair.chosen, pair.rejected)]
    else:
        prompt = _text_ids(str(pair.prompt), pair, tokenizer)
        texts = [f"{pair.prompt}{_ended(str(side), tokenizer)}" for side in (pair.chosen, pair.rejected)]
        rows = [_text_ids(text, pair, tokenizer) for text in texts]
    cut = min(common_prefix_length(prompt, ids) for ids in rows)
    return tuple(prompt[:cut]), tuple(rows[0][cut:]), tuple(rows[1][cut:]), cut < len(prompt)


def _text_ids(text: str, pair: PreferencePair, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    try:
        ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
    except TypeError as error:  # a text with half of a surrogate pair
        raise RowError(f"{pair.where}: the tokenizer cannot read its text: {first_line(error)}.") from None
    return ids


def _ended(response: str, tokenizer: PreTrainedTokenizerBase) -> str:
    end = str(tokenizer.eos_token)
    return response if response.endswith(end) else response + end


def check_tokenizer(pair: PreferencePair, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise if the tokenizer lacks what every pair of this kind needs; such a fault is not one of a row.

    Args:
        pair: the pair.
        tokenizer: the tokenizer of the model.

    Raises:
        InputError: it has no chat template for messages, or no end-of-sequence token for texts.
    """
    if pair.conversational and not tokenizer.chat_template:
        raise InputError(
            f"Pair `{pair.id}` consists of messages, and the tokenizer has no chat template. Name a file with one as "
            "`chat_template`.",
            arguments=["chat_template"],
        )
    if not pair.conversational and tokenizer.eos_token is None:
        raise InputError("The tokenizer has no end-of-sequence token, and text responses must end in one.")


def _conversation_ids(
    messages: list[Any],  # of Message; the template accepts any keys
    pair: PreferencePair,
    tokenizer: PreTrainedTokenizerBase,
    *,
    add_generation_prompt: bool = False,
) -> list[int]:
    if reserved := sorted(_RESERVED & pair.template_arguments.keys()):
        raise RowError(
            f"{pair.where}: `chat_template_kwargs` should hold variables of the template. Found `{reserved[0]}`, which "
            "sets what the tokenizer returns."
        )
    try:
        encoded: Any = tokenizer.apply_chat_template(  # a BatchEncoding, which is missing in the annotation
            messages,
            tokenize=True,
            return_dict=True,
            add_generation_prompt=add_generation_prompt,
            **pair.template_arguments,
        )
    except TemplateSyntaxError as error:
        raise InputError(
            f"The chat template is none: {first_line(error)}. Fix it, or name another file as `chat_template`.",
            arguments=["chat_template"],
        ) from None
    except _TEMPLATE_ERRORS as error:
        raise RowError(f"{pair.where}: the chat template fails on it: {first_line(error)}.") from None
    ids: list[int] = encoded["input_ids"]
    return ids
