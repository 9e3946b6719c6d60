"""Pairs and log-probs of a TRL batch, in the types of this package."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor

from preflens.language_models.batch import PairBatch
from preflens.pair_logps import PairLogps

RowTokens = Float[Tensor, "response predicted_token"]


@dataclass(frozen=True)
class ScoredRows:
    """Token log-probs of the rows of a batch, chosen responses first.

    Attributes:
        logps: log π of each predicted token, nats; values at tokens outside the response are ignored.
        mask: true at tokens of the response.
    """

    logps: RowTokens
    mask: Bool[Tensor, "response predicted_token"]

    def totals(self, values: RowTokens | None = None) -> Float[Tensor, " response"]:
        """Sum over the tokens of each response.

        Args:
            values: one per token; the log-probs by default.

        Returns:
            The sums.
        """
        summed: Tensor = (self.logps if values is None else values).masked_fill(~self.mask, 0).sum(1)
        return summed


# Rows under the reference model; or sums over chosen and over rejected responses, where only these are known.
ReferenceRows = ScoredRows | tuple[Tensor, Tensor]


def pair_batch(inputs: Mapping[str, Tensor]) -> PairBatch:
    """Return the pairs of a TRL batch.

    Args:
        inputs: `input_ids`, `attention_mask` and `completion_mask`, chosen rows first.

    Returns:
        The same rows.
    """
    masks = (inputs[name].bool() for name in ("attention_mask", "completion_mask"))
    return PairBatch(inputs["input_ids"], *masks)


def pair_logps(rows: ScoredRows, reference: ReferenceRows | None, confidence: RowTokens | None = None) -> PairLogps:
    """Return the rows of a batch in the form that objectives take, with their autograd graph.

    Args:
        rows: under the policy.
        reference: under the reference model, or None.
        confidence: log Σ_v π(v|…)² at each predicted token, or None.

    Returns:
        Log-probs in nats.
    """
    tokens = reference.logps if isinstance(reference, ScoredRows) else None
    logps = PairLogps.from_rows(rows.logps, rows.mask, ref_token_logps=tokens, log_sum_sq_probs=confidence)
    if isinstance(reference, tuple):
        logps = replace(logps, ref_chosen=reference[0], ref_rejected=reference[1])
    return logps
