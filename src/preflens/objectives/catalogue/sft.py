"""SFT: the likelihood of the chosen responses, as a mean over all their tokens."""

from preflens.objectives.kinds import BatchObjective, Citation
from preflens.pair_logps import PairLogps, PerPair

_CITATION = Citation(
    "Training language models to follow instructions with human feedback",
    "Ouyang et al.",
    2022,
    "2203.02155",
    "supervised fine-tuning, Section 3.5",
    method="SFT",
    configurations="in sums: `1*dpo:beta=0.1+0.2*sft`",
    differences="TRL: mean over all chosen tokens of a device batch; `use_weighting` fails on it in TRL 1.16 "
    "(in-place product)",
)


def sft() -> BatchObjective:
    """Supervised fine-tuning on the chosen responses.

    ℓ = −Σ_j a_w^j / Σ_j |y_w^j|, sums over the update batch: the mean over all chosen tokens, the same number for every
    pair.

    Coefficients: d_w = N / Σ_j |y_w^j| for a batch of N pairs, d_l = 0.

    Domain: every log-prob.

    Helps: as a part of a sum such as `dpo+0.2*sft`, to keep the chosen response up. The rejected log-prob moves with
    the sign of ⟨g_w,g_l⟩.

    Returns:
        The objective.

    Example:
        >>> from preflens.objectives import at_reference, sft
        >>> at_reference(sft())
        'd_w = 0.1, d_l = 0 for a pair with 10 tokens and −20 nats on each side.'

    References:
        Ouyang et al., "Training language models to follow instructions with human feedback", 2022,
        https://arxiv.org/abs/2203.02155, supervised fine-tuning, Section 3.5.

    Note:
        This is TRL's `sft`. Long chosen responses weigh more than short ones; `rpo` takes the mean within each response
        instead.
    """

    def of_batch(logps: PairLogps) -> PerPair:
        mean = logps.chosen.sum() / logps.chosen_side.length.sum()
        return -mean.expand(len(logps.chosen))

    return BatchObjective("sft", of_batch, _CITATION)
