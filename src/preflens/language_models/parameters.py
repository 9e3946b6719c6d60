"""Selection of the trainable parameters, and a context that restores the model."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from preflens.errors import InputError, UnsupportedModelError
from preflens.language_models.adapters import adapter_parameters
from preflens.language_models.model import evaluating, flags_kept


@dataclass(frozen=True)
class Stepping:
    """The trainable parameters of a model.

    Attributes:
        model: the model.
        chosen: its trainable parameters.
    """

    model: nn.Module
    chosen: frozenset[nn.Parameter]

    @classmethod
    def of(cls, model: nn.Module) -> "Stepping":
        """Return the parameters with `requires_grad` set now.

        Args:
            model: the model, with the flags that it is to be differentiated with.

        Returns:
            The parameters.
        """
        return cls(model, frozenset(p for p in model.parameters() if p.requires_grad))

    def check(self) -> None:
        """Raise if the parameters with `requires_grad` are no longer the chosen ones.

        Raises:
            UnsupportedModelError: `requires_grad` of a parameter was changed since.
        """
        changed = [n for n, p in self.model.named_parameters() if p.requires_grad != (p in self.chosen)]
        if changed:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise UnsupportedModelError(
                f"`requires_grad` of `{changed[0]}`{more} was changed meanwhile, so other parameters would step than "
                "were chosen. Does a hook or the model's own forward pass set it?"
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Set `requires_grad` on these parameters only; restore the flags at exit.

        Yields:
            Nothing.
        """
        with flags_kept(self.model):
            for parameter in self.model.parameters():
                parameter.requires_grad_(parameter in self.chosen)
            yield


@contextmanager
def observing(model: nn.Module, parameters: str = "trainable") -> Iterator[nn.Module]:
    """Put a model in evaluation mode with the chosen parameters trainable; restore everything at exit.

    Args:
        model: the model; modes and `requires_grad` are restored, also after an error.
        parameters: `trainable` (those with `requires_grad`), `all`, `lora` (the parameters that training the adapter
            updates), or a regular expression to search for in the parameters' names.

    Yields:
        The same model.

    Raises:
        InputError: no parameter is chosen.
    """
    with Stepping(model, frozenset(select_parameters(model, parameters))).alone(), evaluating(model):
        yield model


def select_parameters(model: nn.Module, parameters: str) -> set[nn.Parameter]:
    """Return parameters selected by a keyword or a regular expression.

    Args:
        model: the model; parameters that are not floating point (quantized weights) have no gradient and are not
            selected.
        parameters: `trainable`, `all`, `lora` (the weights of adapters, copies of modules and rows of embeddings that
            are trained with them, as in TRL) or a regular expression.

    Returns:
        The parameters, at least one.

    Raises:
        InputError: the expression is not valid, or it matches no parameter.
    """
    named = {n: p for n, p in model.named_parameters(remove_duplicate=False) if p.is_floating_point()}
    if parameters == "trainable":
        chosen = {p for p in named.values() if p.requires_grad}
    elif parameters == "all":
        chosen = set(named.values())
    elif parameters == "lora":
        chosen = adapter_parameters(model) & set(named.values())
    else:
        pattern = _pattern(parameters)
        chosen = {p for n, p in named.items() if pattern.search(n)}
    if not chosen:
        example = ", ".join(f"`{n}`" for n in list(named)[:3])
        raise InputError(
            f"`trainable={parameters}` chooses no parameter of the model. Its parameters are called {example} …",
            arguments=["trainable"],
        )
    return chosen


def _pattern(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise InputError(
            f"`trainable={expression}` is none of trainable, all, lora, and no regular expression: {error}.",
            arguments=["trainable"],
        ) from None
