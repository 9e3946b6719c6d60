"""The output of a forward pass: log-probs, or the input of an output head that leads to them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from preflens.errors import InputError, NonFiniteLogpError
from preflens.gram.factors.layout import Layout, layout_of
from preflens.gram.factors.scored_rows import head_logps, softmax_rows
from preflens.types import HeadInput

# What users' functions return: one number per response, or a `HeadInput`.
ForwardResult = Float[Tensor, " response"] | HeadInput
Forward = Callable[[], ForwardResult]
LogpForward = Callable[[], Float[Tensor, " response"]]


@dataclass(frozen=True)
class ForwardOutput:
    """The output of a forward pass, with one interface for log-probs and for the input of a head.

    Attributes:
        result: log-probs with their graph (nats, chosen responses first), or a `HeadInput`.

    Raises:
        InputError: there is not one number per response, or not as many rejected as chosen responses.
    """

    result: ForwardResult

    def __post_init__(self) -> None:
        shape = (self.result.responses,) if isinstance(self.result, HeadInput) else tuple(self.result.shape)
        if len(shape) != 1 or shape[0] == 0 or shape[0] % 2:
            raise InputError(
                "`forward` should return one number per response, as many rejected as chosen ones. Found shape "
                f"{shape}."
            )

    @property
    def head(self) -> HeadInput | None:
        """The input of the head; None where the model returned log-probs."""
        return self.result if isinstance(self.result, HeadInput) else None

    @property
    def responses(self) -> int:
        """Number of responses."""
        return self.result.responses if isinstance(self.result, HeadInput) else len(self.result)

    @property
    def root(self) -> Tensor:
        """The tensor at which the backward pass through the model starts: hidden rows, or log-probs."""
        return self.result.hidden if isinstance(self.result, HeadInput) else self.result

    @property
    def device(self) -> torch.device:
        """The device that the pass ran on."""
        return self.root.device

    def layout(self, *, equal_inputs: bool) -> Layout:
        """Return where the responses are in the tensors of modules.

        Args:
            equal_inputs: whether equal tokens give equal activations, which dropout prevents.

        Returns:
            The layout.
        """
        return layout_of(self.responses, None if self.head is None else self.head.rows, equal_inputs=equal_inputs)

    def logps(self) -> Float[Tensor, " response"]:
        """Return the log-probs with their graph, nats; scores of a head are formed all at once."""
        return head_logps(self.result) if isinstance(self.result, HeadInput) else self.result

    def detached_logps(self) -> Float64[Tensor, " response"]:
        """Return the log-probs without their graph, nats; a head scores a slice of the vocabulary at a time.

        A head scores without autocast, as it does where its gradients are computed.
        """
        if not isinstance(self.result, HeadInput):
            return self.result.detach().double()
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return softmax_rows(self.result).logps()


def check_finite(logps: Float[Tensor, " response"]) -> None:
    """Refuse log-probs that are not finite, before anything is differentiated.

    Args:
        logps: of the responses, nats.

    Raises:
        NonFiniteLogpError: a log-prob is not finite.
    """
    bad = ~torch.isfinite(logps)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise NonFiniteLogpError(row, len(logps), float(logps[row]))
