"""Arguments of an analysis, checked before anything expensive starts."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Literal, cast

from torch import Tensor

from preflens.errors import InputError, MissingInputError
from preflens.language_models.model import LanguageModel, Reference, context_length
from preflens.language_models.tokenizing import TokenizedPair
from preflens.objectives.base import Objective

DEFAULT_MAX_LENGTH = 1024  # TRL's


def check_arguments(
    objectives: Mapping[str, Objective],
    *,
    reference: Reference,
    update_batch_size: int,
    micro_batch: int | Literal["auto"],
    learning_rate: float,
    limit: int | None,
    verify: int,
) -> None:
    """Refuse arguments that cannot work.

    Args:
        objectives: by label.
        reference: where reference log-probs come from.
        update_batch_size: at least 1.
        micro_batch: at least 1.
        learning_rate: above 0.
        limit: at least 1.
        verify: at least 0.

    Raises:
        InputError: a number is out of range.
        MissingInputError: an objective needs a reference, and there is none, or more than log-probs of whole responses.
    """
    at_least_one = {"update-batch-size": update_batch_size, "micro-batch": micro_batch, "limit": limit}
    for name, value in at_least_one.items():
        if isinstance(value, int) and value < 1:
            raise InputError(f"`--{name}` should be at least 1. Found {value}.")
    if verify < 0:
        raise InputError(f"`--verify` should be 0 or more. Found {verify}.")
    if not (isfinite(learning_rate) and learning_rate > 0):
        raise InputError(f"`--learning-rate` should be above 0. Found {learning_rate:g}.")
    needing = [label for label, objective in objectives.items() if objective.needs_reference]
    if reference == "none" and needing:
        raise MissingInputError(
            f"Objective `{needing[0]}` compares with a reference model, and `--reference` is none. "
            "Name a model, or choose an objective without one (simpo, slic, cpo)."
        )
    for label, objective in objectives.items():
        beyond = sorted(objective.inputs - {"reference", "length"})
        if beyond:
            raise MissingInputError(
                f"Objective `{label}` also uses: {', '.join(beyond)}. An analysis computes log-probs of whole "
                "responses only; such an objective can be trained and its coefficients computed in Python."
            )


def usable_length(model: LanguageModel, max_length: int | None) -> int:
    """Settle how many tokens of a sequence are used.

    Args:
        model: its context is the upper limit.
        max_length: asked for; None for the smaller of 1024 and the context.

    Returns:
        Tokens of prompt and response together.

    Raises:
        InputError: it is below 2 or longer than the context.
    """
    context = context_length(model)
    if max_length is None:
        return min(DEFAULT_MAX_LENGTH, context or DEFAULT_MAX_LENGTH)
    if max_length < 2 or (context is not None and max_length > context):
        upper = "" if context is None else f" and at most {context}, the model's context"
        raise InputError(f"`--max-length` should be at least 2{upper}. Found {max_length}.")
    return max_length


def check_vocabulary(pairs: Sequence[TokenizedPair], model: LanguageModel, reference: Reference) -> None:
    """Refuse token ids that a model has no embedding for.

    Args:
        pairs: tokenised.
        model: the policy.
        reference: a model, or a word.

    Raises:
        InputError: tokenizer and model do not fit.
    """
    largest = max(max((*p.prompt_ids, *p.chosen_ids, *p.rejected_ids)) for p in pairs)
    models = {"model": model} | ({} if isinstance(reference, str) else {"reference model": reference})
    for what, scorer in models.items():
        size = len(cast(Tensor, scorer.get_input_embeddings().weight))
        if largest >= size:
            raise InputError(
                f"The tokenizer produced token {largest}, and the {what} knows only {size} tokens (0 to {size - 1}). "
                "They do not belong together."
            )
