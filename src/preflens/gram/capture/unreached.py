"""Refuse parameters that no gradient reaches although their module runs and the log-probs depend on them."""

from collections.abc import Collection, Mapping

from torch import nn

from preflens.errors import UnsupportedModelError
from preflens.gram.capture.forward import Forward
from preflens.gram.capture.plain_forward import plain_logps
from preflens.gram.capture.restoring import replaced_by_noise

# Log-probs that differ by more, per nat of 1 + |a|, do not differ by rounding.
_ROUNDING = 1e-4


def check_reached(
    unreached: Collection[nn.Parameter], names: Mapping[nn.Parameter, str], forward: Forward | None
) -> None:
    """Refuse parameters on which the log-probs depend although no gradient reaches them.

    Args:
        unreached: parameters of modules that ran and to whose outputs no gradient came back.
        names: of the parameters.
        forward: the pass, run twice to test whether log-probs change with the parameters; None to refuse all of them.

    Raises:
        UnsupportedModelError: there is such a parameter.
    """
    if not unreached or (forward is not None and not _have_influence(unreached, forward)):
        return
    first = min(names[p] for p in unreached)
    more = f" and {len(unreached) - 1} other parameters" if len(unreached) > 1 else ""
    if forward is None:
        known, advice = "the log-probs may depend on them", "Call `pair_gram` once before, which finds that out"
    else:
        known, advice = "the log-probs depend on them", "A step would treat them as if they did not matter. Fix that"
    raise UnsupportedModelError(
        f"No gradient reaches `{first}`{more}, although what they belong to was called and {known}: in between the "
        f"graph is cut (`detach`, `no_grad`, a layer packed for inference). {advice}, or choose parameters without "
        "them (`requires_grad`; in the analyses `trainable`).",
        arguments=["trainable"],
    )


def _have_influence(parameters: Collection[nn.Parameter], forward: Forward) -> bool:
    """Whether other values of the parameters give other log-probs."""
    before = plain_logps(forward)
    with replaced_by_noise(parameters):
        after = plain_logps(forward)
    return not bool(((after - before).abs() <= _ROUNDING * (1 + before.abs())).all())
