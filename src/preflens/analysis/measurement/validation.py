"""Arguments of an analysis, checked before anything expensive starts."""

from collections.abc import Mapping, Sequence
from typing import Literal, cast

from torch import Tensor

from preflens.errors import InputError, MissingInputError
from preflens.language_models.model import LanguageModel, Reference, context_length
from preflens.language_models.token_limits import refuse_unknown_token
from preflens.language_models.tokenizing import TokenizedPair
from preflens.objectives.kinds.base import Objective

DEFAULT_MAX_LENGTH = 1024  # TRL's
LARGEST_LEARNING_RATE = 1e100  # times squared norms and sums of them, it has to stay below float64's 1.8e308


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
        learning_rate: above 0, at most `LARGEST_LEARNING_RATE`.
        limit: at least 1.
        verify: at least 0.

    Raises:
        InputError: a number is out of range.
        MissingInputError: an objective needs a reference, and there is none, or more than log-probs of whole responses.
    """
    at_least_one = {"update_batch_size": update_batch_size, "micro_batch": micro_batch, "limit": limit}
    for name, value in at_least_one.items():
        if isinstance(value, int) and value < 1:
            raise InputError(f"`{name}` should be at least 1. Found {value}.", arguments=[name])
    if verify < 0:
        raise InputError(f"`verify` should be 0 or more. Found {verify}.", arguments=["verify"])
    if not 0 < learning_rate <= LARGEST_LEARNING_RATE:
        raise InputError(
            f"`learning_rate` should be above 0 and at most {LARGEST_LEARNING_RATE:g}, beyond which predictions "
            f"overflow. Found {learning_rate:g}.",
            arguments=["learning_rate"],
        )
    needing = [label for label, objective in objectives.items() if objective.needs_reference]
    if reference == "none" and needing:
        raise MissingInputError(
            f"Objective `{needing[0]}` compares with a reference model, and `reference` is none. "
            "Name a model, or choose an objective without one (simpo, slic, cpo).",
            arguments=["reference"],
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
        raise InputError(f"`max_length` should be at least 2{upper}. Found {max_length}.", arguments=["max_length"])
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
    models = {"model": model} | ({} if isinstance(reference, str) else {"reference model": reference})
    sizes = {what: len(cast(Tensor, scorer.get_input_embeddings().weight)) for what, scorer in models.items()}
    for pair in pairs:
        largest = max((*pair.prompt_ids, *pair.chosen_ids, *pair.rejected_ids))
        for what, size in sizes.items():
            refuse_unknown_token(largest, size, what, where=pair.pair.where)
