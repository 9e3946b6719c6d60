"""The pairs that a step trains on, and what its loss sends back to each."""

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
    """One forward pass of a training step.

    Attributes:
        input_ids: chosen rows, then rejected rows.
        attention_mask: true on real tokens.
        completion_mask: true on the tokens of the response.
        token_coefficients: ∂L/∂(log-prob of a token), at the position before it; None before the backward pass.
        kept: the responses' gradients, read off the step's own backward pass, where that was possible.
    """

    input_ids: Int[Tensor, "response token"]
    attention_mask: Bool[Tensor, "response token"]
    completion_mask: Bool[Tensor, "response token"]
    token_coefficients: Float[Tensor, "response predicted_token"] | None = None
    kept: PerResponseGradients | None = None

    @property
    def complete(self) -> bool:
        """Whether every response has a token that is scored; TRL trains on those that have none, too."""
        return bool(self.completion_mask[:, 1:].any(1).all())

    def pairs(self) -> list[TokenizedPair]:
        """Return the pairs without padding; their ids tell equal pairs by their tokens."""
        half = len(self.input_ids) // 2
        rows = [(ids[real], scored[real]) for ids, real, scored in self._rows()]
        return [_pair(*chosen, *rejected) for chosen, rejected in zip(rows[:half], rows[half:], strict=True)]

    def response_coefficients(self) -> Float64[Tensor, " response"] | None:
        """Return ∂L/∂a_i of each response; None where its tokens differ in what the loss sends to them."""
        if self.token_coefficients is None:
            return None
        scored = self.completion_mask[:, 1:].to(self.token_coefficients.device)
        return response_coefficients(self.token_coefficients[scored].double(), scored.nonzero()[:, 0], len(scored))

    def coefficients(self, accumulated: int) -> PairCoefficients | None:
        """Return d_w and d_l of each pair's own loss.

        Args:
            accumulated: how many micro-batches share the step: the trainer divides the mean loss of each by that.

        Returns:
            In the unit of `Objective.coefficients`: a step takes their mean over its pairs. None where the tokens of a
            response differ in them.
        """
        found = self.response_coefficients()
        if found is None:
            return None
        chosen, rejected = (accumulated * (len(found) // 2) * found).cpu().chunk(2)
        return PairCoefficients(-chosen, rejected)

    def _rows(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        parts = (self.input_ids.cpu(), self.attention_mask.cpu(), self.completion_mask.cpu())
        return zip(*parts, strict=True)


def pair_id(prompt_ids: tuple[int, ...], chosen_ids: tuple[int, ...], rejected_ids: tuple[int, ...]) -> str:
    """Name a pair by its tokens, so that it has the same name in every run.

    Args:
        prompt_ids: of the context.
        chosen_ids: of the chosen response.
        rejected_ids: of the rejected response.

    Returns:
        Sixteen hexadecimal digits.
    """
    return blake2b(repr((prompt_ids, chosen_ids, rejected_ids)).encode(), digest_size=8).hexdigest()


def _pair(chosen: Tensor, chosen_scored: Tensor, rejected: Tensor, rejected_scored: Tensor) -> TokenizedPair:
    start = int(chosen_scored.long().argmax()) if bool(chosen_scored.any()) else len(chosen)
    prompt, first = tuple(chosen[:start].tolist()), tuple(chosen[chosen_scored].tolist())
    second = tuple(rejected[rejected_scored].tolist())
    return TokenizedPair(PreferencePair(pair_id(prompt, first, second), "", "", ""), prompt, first, second)
