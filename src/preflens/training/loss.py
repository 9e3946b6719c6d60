"""Log-probs of a TRL batch in the form that objectives take."""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor

from preflens.pair_logps import PairLogps

RowTokens = Float[Tensor, "response predicted_token"]


@dataclass(frozen=True)
class ScoredRows:
    """Token log-probs of the rows of a batch, the chosen responses first.

    Attributes:
        logps: log π of each predicted token, nats; what stands at tokens that are no response's does not count.
        mask: true at tokens of the response.
    """

    logps: RowTokens
    mask: Bool[Tensor, "response predicted_token"]

    def totals(self, values: RowTokens | None = None) -> Float[Tensor, " response"]:
        """Add up over the tokens of each response.

        Args:
            values: what to add up; log-probs where nothing is given.

        Returns:
            The sums.
        """
        summed: Tensor = (self.logps if values is None else values).masked_fill(~self.mask, 0).sum(1)
        return summed


# Rows under the reference model; or sums of the chosen and of the rejected responses, where only these are known.
ReferenceRows = ScoredRows | tuple[Tensor, Tensor]


def pair_logps(rows: ScoredRows, reference: ReferenceRows | None, confidence: RowTokens | None = None) -> PairLogps:
    """Bring the rows of a batch into the form that objectives take, with the graph that they have.

    Args:
        rows: under the policy.
        reference: under the reference model, or None.
        confidence: log Σ_v π(v|…)² at each predicted token, or None.

    Returns:
        Log-probs in nats.
    """
    tokens = reference.logps if isinstance(reference, ScoredRows) else None
    found = PairLogps.from_rows(rows.logps, rows.mask, ref_token_logps=tokens, log_sum_sq_probs=confidence)
    if isinstance(reference, tuple):
        found = replace(found, ref_chosen=reference[0], ref_rejected=reference[1])
    return found
