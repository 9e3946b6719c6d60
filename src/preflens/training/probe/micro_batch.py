"""A micro-batch of a training step: its pairs and the coefficients that its loss gives them."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from preflens.gram.readers.stored_gradients import PerResponseGradients
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair
from preflens.training.response_coefficients import response_coefficients
from preflens.types import PairCoefficients


@dataclass
class MicroBatch:
    """The pairs of one forward pass of a training step.

    Attributes:
        input_ids: chosen rows, then rejected rows.
        attention_mask: true on real tokens.
        completion_mask: true on the tokens of the response.
        token_coefficients: ∂L/∂(log-prob of a token), at the position before it, no unit; None before the backward
            pass.
        gradients: per-response gradients captured in the step's own backward pass; None where that was not possible.
    """

    input_ids: Int[Tensor, "response token"]
    attention_mask: Bool[Tensor, "response token"]
    completion_mask: Bool[Tensor, "response token"]
    token_coefficients: Float[Tensor, "response predicted_token"] | None = None
    gradients: PerResponseGradients | None = None

    @property
    def complete(self) -> bool:
        """Whether every response has a scored token; TRL also trains on responses without one."""
        return bool(self.completion_mask[:, 1:].any(1).all())

    def pairs(self) -> list[TokenizedPair]:
        """Return the pairs without padding, with ids made of their tokens."""
        half = len(self.input_ids) // 2
        rows = [(ids[is_token], scored[is_token]) for ids, is_token, scored in self._rows()]
        return [_pair(*chosen, *rejected) for chosen, rejected in zip(rows[:half], rows[half:], strict=True)]

    def response_coefficients(self) -> Float64[Tensor, " response"] | None:
        """Return ∂L/∂a_i of each response, no unit; None where the loss weights tokens of a response differently."""
        if self.token_coefficients is None:
            return None
        scored = self.completion_mask[:, 1:].to(self.token_coefficients.device)
        return response_coefficients(self.token_coefficients[scored].double(), scored.nonzero()[:, 0], len(scored))

    def coefficients(self, accumulated: int) -> PairCoefficients | None:
        """Return d_w and d_l of each pair's own loss.

        Args:
            accumulated: how many micro-batches share the step; the trainer divides the mean loss of each by that.

        Returns:
            In the unit of `Objective.coefficients`: a step takes their mean over its pairs. None where the loss weights
            tokens of a response differently.
        """
        gradient = self.response_coefficients()
        if gradient is None:
            return None
        chosen, rejected = (accumulated * (len(gradient) // 2) * gradient).cpu().chunk(2)
        return PairCoefficients(-chosen, rejected)

    def _rows(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return zip(self.input_ids.cpu(), self.attention_mask.cpu(), self.completion_mask.cpu(), strict=True)


def pair_id(prompt_ids: tuple[int, ...], chosen_ids: tuple[int, ...], rejected_ids: tuple[int, ...]) -> str:
    """Make an id of the tokens of a pair, so that it is the same in every run.

    Args:
        prompt_ids: tokens of the prompt.
        chosen_ids: tokens of the chosen response.
        rejected_ids: tokens of the rejected response.

    Returns:
        Sixteen hexadecimal digits.
    """
    return blake2b(repr((prompt_ids, chosen_ids, rejected_ids)).encode(), digest_size=8).hexdigest()


def _pair(chosen: Tensor, chosen_scored: Tensor, rejected: Tensor, rejected_scored: Tensor) -> TokenizedPair:
    start = int(chosen_scored.long().argmax()) if bool(chosen_scored.any()) else len(chosen)
    prompt_ids, chosen_ids = tuple(chosen[:start].tolist()), tuple(chosen[chosen_scored].tolist())
    rejected_ids = tuple(rejected[rejected_scored].tolist())
    pair = PreferencePair(pair_id(prompt_ids, chosen_ids, rejected_ids), "", "", "")
    return TokenizedPair(pair, prompt_ids, chosen_ids, rejected_ids)
