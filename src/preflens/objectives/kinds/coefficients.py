"""Coefficients, inputs and the check of values, derived from the loss of an objective.

An objective defines its loss once. Everything here calls that loss.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cached_property

import torch
from torch import Tensor

from preflens.errors import MissingInputError, NumericalError
from preflens.objectives.kinds.base import INPUTS
from preflens.pair_logps import PairLogps, PerPair, TokenCoefficients
from preflens.types import PairCoefficients

Loss = Callable[[PairLogps], PerPair]


class AutodiffObjective(ABC):
    """An objective whose inputs are determined by calling its loss."""

    @abstractmethod
    def loss(self, logps: PairLogps) -> PerPair:
        """Return the loss of each pair."""

    @cached_property
    def inputs(self) -> frozenset[str]:
        """Keys of `INPUTS`: what the loss uses in addition to the two log-probs."""
        return inputs_of(self.loss)

    @property
    def needs_reference(self) -> bool:
        """Whether the loss uses log-probs under a reference model."""
        return "reference" in self.inputs

    @property
    def uses_length(self) -> bool:
        """Whether the loss uses the token counts of the responses."""
        return "length" in self.inputs


def checked(name: str, values: PerPair, logps: PairLogps) -> PerPair:
    """Return the losses, or raise where one of them is not finite.

    Args:
        name: the objective's name, for the message.
        values: a loss for each pair.
        logps: the log-probs that the losses were computed from.

    Returns:
        The same values.

    Raises:
        NumericalError: the loss of a pair is not representable.
    """
    if not bool(torch.isfinite(values).all()):
        raise NumericalError(_message(name, "loss", torch.isfinite(values), logps))
    return values


def pair_coefficients(name: str, loss: Loss, logps: PairLogps) -> PairCoefficients:
    """Compute d_w = −∂ℓ/∂a_w and d_l = +∂ℓ/∂a_l, by automatic differentiation in float64.

    The sum of the losses is differentiated. Where pairs are independent, this is the derivative of each pair's loss.
    For a loss of the whole batch of N pairs, it is N times the derivative of the mean, so that "1/N Σ_i c_i ∇a_i" is
    the negative gradient of the mean loss in both cases.

    Args:
        name: the objective's name, for the message.
        loss: the objective's loss.
        logps: log-probs in nats.

    Returns:
        The coefficients, which may be negative.

    Raises:
        NumericalError: a coefficient is not representable for some pair.
    """
    exact = logps.double()
    with torch.enable_grad():
        chosen, rejected = exact.chosen.requires_grad_(), exact.rejected.requires_grad_()
        total = loss(replace(exact, chosen=chosen, rejected=rejected)).sum()
        d_chosen, d_rejected = torch.autograd.grad(total, (chosen, rejected), materialize_grads=True)
    finite = torch.isfinite(d_chosen) & torch.isfinite(d_rejected)
    if not bool(finite.all()):
        raise NumericalError(_message(name, "coefficients", finite, logps))
    return PairCoefficients(-d_chosen, d_rejected)


def token_coefficients(name: str, loss: Loss, logps: PairLogps) -> PairCoefficients:
    """Compute d_{w,t} = −∂ℓ/∂log π(y_{w,t}|…) and d_{l,t} = +∂ℓ/∂log π(y_{l,t}|…), in float64.

    Args:
        name: the objective's name, for the message.
        loss: the objective's loss.
        logps: log-probs, with token log-probs; the log-prob of a response is the sum over its tokens.

    Returns:
        Coefficients of tokens, and their means over each response.

    Raises:
        MissingInputError: log-probs of tokens or token counts were not given.
        NumericalError: a coefficient is not representable for some pair.
    """
    exact = logps.double()
    if exact.chosen_token_logps is None or exact.rejected_token_logps is None:
        raise MissingInputError(f"Objective `{name}` weights tokens, and log-probs of the tokens were not given.")
    with torch.enable_grad():
        leaves = exact.chosen_token_logps.requires_grad_(), exact.rejected_token_logps.requires_grad_()
        live = replace(exact, chosen_token_logps=leaves[0], rejected_token_logps=leaves[1])
        sides = live.chosen_side, live.rejected_side
        sums = [side.at_tokens(side.token_logps, "log-probs").sum(1) for side in sides]
        total = loss(replace(live, chosen=sums[0], rejected=sums[1])).sum()
        d_chosen, d_rejected = torch.autograd.grad(total, leaves, materialize_grads=True)
    finite = torch.isfinite(d_chosen).all(1) & torch.isfinite(d_rejected).all(1)
    if not bool(finite.all()):
        raise NumericalError(_message(name, "coefficients", finite, logps))
    means = -d_chosen.sum(1) / sides[0].length, d_rejected.sum(1) / sides[1].length
    return PairCoefficients(*means, TokenCoefficients(-d_chosen, d_rejected))


def inputs_of(loss: Loss) -> frozenset[str]:
    """Determine which inputs a loss uses in addition to the two log-probs, by removing one at a time.

    Args:
        loss: the loss of an objective.

    Returns:
        Keys of `INPUTS`.
    """
    return frozenset(key for key in INPUTS if not _computes(loss, without=key))


def _computes(loss: Loss, *, without: str) -> bool:
    one, token = torch.full((1,), -1.0, dtype=torch.float64), torch.full((1, 1), -1.0, dtype=torch.float64)
    count = torch.ones(1, dtype=torch.long)
    everything = PairLogps(one, one, one, one, count, count, token, token, token, token, token, token, one, one)
    kept = {f.name: getattr(everything, f.name) for f in fields(PairLogps) if f.name not in INPUTS[without]}
    try:
        loss(PairLogps(**kept))
    except MissingInputError:
        return False
    except NumericalError:  # the loss of this pair is not representable at these parameters, but no input was missing
        return True
    return True


def _message(name: str, what: str, finite: Tensor, logps: PairLogps) -> str:
    pair = int(finite.logical_not().nonzero()[0])
    found = f"{logps.chosen[pair].item():.6g} (chosen) and {logps.rejected[pair].item():.6g} (rejected)"
    if logps.ref_chosen is not None and logps.ref_rejected is not None:
        found += f", under the reference {logps.ref_chosen[pair].item():.6g} and {logps.ref_rejected[pair].item():.6g}"
    return (
        f"Objective `{name}` has no finite {what} for pair {pair} (from 0), whose log-probs in nats are {found}. "
        f"`preflens objectives {name}` says where it is defined."
    )
