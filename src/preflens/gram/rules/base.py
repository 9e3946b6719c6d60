"""What a layer rule is, and how rows are told apart."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor, nn

from preflens.errors import UnreadableGradientError
from preflens.gram.capture.taps import ModuleCall
from preflens.gram.factors.factors import Factor, Materialized, OuterProductSum
from preflens.gram.factors.precision import widen


@dataclass(frozen=True)
class LayerGradients:
    """A rule's word that it knows the per-response gradients of some parameters of a module.

    Attributes:
        parameters: their names in the module.
        factor: the gradients; of several parameters one after the other.
    """

    parameters: tuple[str, ...]
    factor: Factor


@dataclass(frozen=True)
class RuleContext:
    """What is asked of a rule.

    Attributes:
        responses: how many share the pass.
        wanted: names of the parameters whose gradients are read off the module: its own, and dotted ones of modules
            inside it that are not called.
        private: those of them that no other module is read for too.
        groups: the same names, those together that may stand in one claim.
        untapped: switches taps off while a rule calls the module again.
    """

    responses: int
    wanted: tuple[str, ...]
    private: frozenset[str]
    groups: tuple[tuple[str, ...], ...]
    untapped: Callable[[], AbstractContextManager[None]]

    def foldable(self, bias: object) -> bool:
        """Tell whether weight and bias can be treated as one parameter.

        Args:
            bias: the module's bias, or None.

        Returns:
            True if both are wanted and belong to this module alone.
        """
        return bias is not None and {"weight", "bias"} <= self.private and {"weight", "bias"} <= set(self.wanted)


Rule = Callable[[ModuleCall, RuleContext], list[LayerGradients]]


def response_rows(values: Tensor, module: nn.Module, responses: int) -> Tensor:
    """Bring what a module sees to the shape [response, row, features].

    Rows may come flattened ([response · row, features]), as experts and some feed-forward blocks get them.

    Args:
        values: features last.
        module: for messages.
        responses: how many share the pass.

    Returns:
        A view, or a copy where the layout asks for one.
    """
    rows = values.shape[0]
    check_row_counts(rows, module, responses)
    return values.reshape(responses, -1, values.shape[-1])


def check_row_counts(rows: int, module: nn.Module, responses: int) -> None:
    """Refuse a leading axis that cannot be split by response.

    Args:
        rows: its length.
        module: for messages.
        responses: how many share the pass.

    Raises:
        UnreadableGradientError: rows of responses cannot be told apart.
    """
    if rows < responses or rows % responses:
        raise UnreadableGradientError(rows_in_words(rows, module, responses), module=module, mixed=True)


def rows_in_words(rows: int, module: nn.Module, responses: int) -> str:
    """Say that rows of responses cannot be told apart.

    Args:
        rows: how many there are.
        module: that saw them.
        responses: how many share the pass.

    Returns:
        The message.
    """
    return (
        f"A `{type(module).__name__}` saw {rows} row(s) for {responses} responses, so their gradients cannot be told "
        "apart. Give every response its own row: position ids with one row a response, no packed sequences, no "
        "statistics over the batch. Or use `brute_force_batch_gram`."
    )


def linear_claims(
    inputs: Tensor, grads: Tensor, request: RuleContext, *, bias: object, input_first: bool
) -> list[LayerGradients]:
    """Claim the weight of a linear map, and its bias.

    Args:
        inputs: [response, row, in].
        grads: [response, row, out].
        request: what is asked.
        bias: the module's bias, or None.
        input_first: whether the weight has the shape [in, out].

    Returns:
        One claim, or two where weight and bias do not belong together.
    """
    x, d = widen(inputs, grads)
    if request.foldable(bias):
        return [LayerGradients(("weight", "bias"), OuterProductSum(x, d, input_first, with_bias=True))]
    claims = [LayerGradients(("weight",), OuterProductSum(x, d, input_first))] if "weight" in request.wanted else []
    return claims + ([LayerGradients(("bias",), Materialized(d.sum(1)))] if "bias" in request.wanted else [])
