"""Which parameters count, and a model that is left as it was found."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from preflens.errors import InputError
from preflens.language_models.model import evaluating


@contextmanager
def observing(model: nn.Module, parameters: str = "trainable") -> Iterator[nn.Module]:
    """Put a model in evaluation mode with the chosen parameters trainable, and put everything back afterwards.

    Args:
        model: training flags of every module and `requires_grad` of every parameter are restored, also after an error.
        parameters: `trainable` (those with `requires_grad`), `all`, `lora` (adapter weights), or a regular expression
            that is searched for in the parameters' names.

    Yields:
        The same model.

    Raises:
        InputError: no parameter is chosen.
    """
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    chosen = select_parameters(model, parameters)
    try:
        for parameter in flags:
            parameter.requires_grad_(parameter in chosen)
        with evaluating(model):
            yield model
    finally:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)


def select_parameters(model: nn.Module, parameters: str) -> set[nn.Parameter]:
    """Choose parameters by a word or a regular expression.

    Args:
        model: where from; what is not floating point (quantised weights) has no gradient and is not chosen.
        parameters: `trainable`, `all`, `lora` or a regular expression.

    Returns:
        The parameters, at least one.

    Raises:
        InputError: the expression is not valid, or nothing matches.
    """
    named = {n: p for n, p in model.named_parameters(remove_duplicate=False) if p.is_floating_point()}
    if parameters == "trainable":
        chosen = {p for p in named.values() if p.requires_grad}
    elif parameters == "all":
        chosen = set(named.values())
    else:
        pattern = _pattern(r"\blora_|\.lora_" if parameters == "lora" else parameters)
        chosen = {p for n, p in named.items() if pattern.search(n)}
    if not chosen:
        example = ", ".join(f"`{n}`" for n in list(named)[:3])
        raise InputError(
            f"`--parameters {parameters}` chooses no parameter of the model. Its parameters are called {example} …"
        )
    return chosen


def _pattern(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise InputError(
            f"`--parameters {expression}` is none of trainable, all, lora, and no regular expression: {error}."
        ) from None
