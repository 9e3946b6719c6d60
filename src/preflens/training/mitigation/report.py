"""Metrics of what a mitigation did to an update batch."""

from preflens.mitigations import Mitigated
from preflens.types import BatchGram, PairCoefficients, PairGram


def mitigation_metrics(mitigated: Mitigated, before: PairCoefficients, gram: PairGram | BatchGram) -> dict[str, float]:
    """Summarize what a mitigation did to an update batch.

    Args:
        mitigated: its result.
        before: the coefficients it received, without those of constraint pairs.
        gram: the geometry it received.

    Returns:
        Metrics under `mitigation/`: `untreated` (share of pairs it did not change), `log_ratio_change` (mean change of
        log(d_w/d_l) over the other pairs), `cosine` (mean), and what the mitigation itself reports.
    """
    after, is_treated = mitigated.coefficients, ~mitigated.untreated
    numbers = {"untreated": float(mitigated.untreated.double().mean()), **mitigated.report}
    if bool(is_treated.any()):
        # Constraint pairs come after those of the batch.
        chosen, rejected = (side[: len(is_treated)] for side in (after.chosen, after.rejected))
        change = (chosen / rejected).abs().log() - (before.chosen / before.rejected).abs().log()
        numbers["log_ratio_change"] = float(change[is_treated].mean())
    pair_gram = gram.pair_gram() if isinstance(gram, BatchGram) else gram
    numbers["cosine"] = float(pair_gram.cosine.nanmean())
    return {f"mitigation/{name}": value for name, value in numbers.items()}
