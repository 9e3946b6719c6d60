"""Checks of model, objectives and lengths before anything expensive starts."""

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor

from preflens.errors import InputError, MissingInputError
from preflens.language_models.model import (
    LanguageModel,
    Reference,
    check_experts,
    check_rows_are_independent,
    context_length,
)
from preflens.language_models.token_limits import refuse_unknown_token
from preflens.language_models.tokenizing import TokenizedPair
from preflens.objectives.kinds.base import Objective

DEFAULT_MAX_LENGTH = 1024  # TRL's


def check_model(model: LanguageModel) -> None:
    """Refuse a model whose per-response gradients are not defined, or that cannot compute in its type.

    Args:
        model: the policy.
    """
    check_rows_are_independent(model)
    check_experts(model)


def check_verify_batches(verify_batches: int) -> None:
    """Refuse a negative number of update batches to verify.

    Args:
        verify_batches: at least 0.

    Raises:
        InputError: it is below 0.
    """
    if verify_batches < 0:
        raise InputError(
            f"`verify_batches` should be at least 0. Found {verify_batches}.", arguments=["verify_batches"]
        )


def check_inputs(objectives: Mapping[str, Objective], reference: Reference) -> None:
    """Refuse objectives that use more than an analysis computes.

    Args:
        objectives: by label.
        reference: where reference log-probs come from.

    Raises:
        MissingInputError: an objective needs a reference and there is none, or needs more than log-probs of whole
            responses.
    """
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
                "responses only. Such an objective can be trained, and its coefficients can be computed in Python."
            )


def usable_length(model: LanguageModel, max_length: int | None) -> int:
    """Return the number of tokens of a sequence that are used.

    Args:
        model: the policy, whose context is the upper limit.
        max_length: the wanted length, or None for the smaller of 1024 and the context.

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
        pairs: pairs, tokenized.
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
