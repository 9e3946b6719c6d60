"""What a layer rule is, and how the rows of a module are assigned to responses."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor, nn

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.calls import ModuleCall
from preflens.gram.factors.factors import Factor, Materialized, OuterProductSum
from preflens.gram.factors.precision import widen


@dataclass(frozen=True)
class LayerGradients:
    """Per-response gradients of some parameters of a module, as returned by a layer rule.

    Attributes:
        parameters: names of the parameters in the module.
        factor: the gradients; those of several parameters one after the other.

    Example:
        Two responses, and a bias of three numbers:

        >>> import torch
        >>> from preflens.gram import LayerGradients, Materialized
        >>> gradients = LayerGradients(("bias",), Materialized(torch.ones(2, 3)))
        >>> gradients.factor.dense().shape
        torch.Size([2, 3])
    """

    parameters: tuple[str, ...]
    factor: Factor


@dataclass(frozen=True)
class RuleContext:
    """What a layer rule needs to know beside the call.

    Attributes:
        responses: number of responses that share the pass.
        parameters: names of the parameters whose gradients the rule returns: those of the module itself, and dotted
            names of modules inside it that are not called.
        private: those of them that are read off no other module, too.
        groups: the same names; names in one group may share one `LayerGradients`.
        untapped: context in which a rule may call the module again.

    Example:
        >>> from contextlib import nullcontext
        >>> from preflens.gram import RuleContext
        >>> names = ("weight", "bias")
        >>> context = RuleContext(4, names, frozenset(names), (names,), nullcontext)
        >>> context.responses, context.foldable(bias=None)
        (4, False)
    """

    responses: int
    parameters: tuple[str, ...]
    private: frozenset[str]
    groups: tuple[tuple[str, ...], ...]
    untapped: Callable[[], AbstractContextManager[None]]

    def foldable(self, bias: object) -> bool:
        """Return whether weight and bias can be treated as one parameter.

        Args:
            bias: the module's bias, or None.

        Returns:
            True if the gradients of both are needed and belong to this module alone.
        """
        return bias is not None and {"weight", "bias"} <= self.private and {"weight", "bias"} <= set(self.parameters)


# A rule turns one call of a module into the gradients of its parameters. `call.args` and `call.kwargs` are the inputs,
# `call.gradients` the gradients that reach the outputs; the outputs themselves are not kept for it. A gradient may be
# left out where it is zero.
LayerRule = Callable[[ModuleCall, RuleContext], list[LayerGradients]]
LayerRules = Mapping[type[nn.Module], LayerRule]  # by exact class


def response_rows(values: Tensor, module: nn.Module, responses: int) -> Tensor:
    """Bring inputs or output gradients of a module to the shape [response, row, features].

    Rows may come flattened ([response · row, features]), as in experts and some feed-forward blocks.

    Args:
        values: features on the last axis.
        module: named in errors.
        responses: number of responses that share the pass.

    Returns:
        A view, or a copy where the memory layout needs one.
    """
    check_row_counts(values.shape[0], module, responses)
    return values.reshape(responses, -1, values.shape[-1])


def check_row_counts(rows: int, module: nn.Module, responses: int) -> None:
    """Refuse a leading axis that cannot be split by response.

    Args:
        rows: its length.
        module: named in the error.
        responses: number of responses that share the pass.

    Raises:
        UnreadableGradientError: rows cannot be assigned to responses.
    """
    if rows < responses or rows % responses:
        raise UnreadableGradientError(describe_row_mismatch(rows, module, responses), module=module, mixed=True)


def describe_row_mismatch(rows: int, module: nn.Module, responses: int) -> str:
    """Return the message for rows that cannot be assigned to responses.

    Args:
        rows: number of rows.
        module: that got them.
        responses: number of responses that share the pass.

    Returns:
        The message.
    """
    return (
        f"A `{type(module).__name__}` saw {rows} row(s) for {responses} responses, so their gradients cannot be told "
        "apart. Give every response its own row: position ids with one row per response, no packed sequences, no "
        "statistics over the batch. Or use `brute_force_batch_gram`."
    )


def linear_gradients(
    inputs: Tensor, grads: Tensor, context: RuleContext, *, bias: object, input_first: bool
) -> list[LayerGradients]:
    """Return the gradients of the weight and the bias of a linear map.

    Args:
        inputs: [response, row, in].
        grads: [response, row, out].
        context: names the parameters.
        bias: the module's bias, or None.
        input_first: whether the weight has the shape [in, out].

    Returns:
        One element, or two where weight and bias cannot be treated as one parameter.
    """
    x, d = widen(inputs, grads)
    if context.foldable(bias):
        return [LayerGradients(("weight", "bias"), OuterProductSum(x, d, input_first, with_bias=True))]
    parts = []
    if "weight" in context.parameters:
        parts.append(LayerGradients(("weight",), OuterProductSum(x, d, input_first)))
    if "bias" in context.parameters:
        parts.append(LayerGradients(("bias",), Materialized(d.sum(1))))
    return parts
