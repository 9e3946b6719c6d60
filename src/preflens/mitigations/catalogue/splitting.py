"""Updates in two stages: climbing the chosen answers and descending the rejected ones where the other has been."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from preflens.errors import InputError
from preflens.mitigations.kinds.base import within
from preflens.objectives.kinds.base import Citation
from preflens.specs import Value

SPLITTING_KINDS = ("virtual", "sequential")

_BLOG = Citation(
    title="Splitting chosen and rejected updates in preference optimization", authors="J. Yu", year=2026, arxiv="",
    location="sequential and virtual-point updates", unverified="title not confirmed; a blog post, read in notes only",
)  # fmt: skip


@dataclass(frozen=True)
class Splitting:
    """A mitigation that puts an update together from several gradients.

    Attributes:
        name: the name in the table of mitigations.
        kind: which update.
        kappa: how far apart the points are at which the two sides are differentiated, in steps.
        source: where it is from.
        strength: factor on κ.
        parameters: the values it was made with.
    """

    name: str
    kind: str
    kappa: float
    source: Citation
    strength: float
    parameters: Mapping[str, Value] = field(default_factory=dict)

    @property
    def reach(self) -> float:
        """κ times strength."""
        return self.kappa * self.strength


def splitting(kind: str = "virtual", kappa: float = 1.0, strength: float = 1.0) -> Splitting:
    """Differentiate each side where the other one's step would have led.

    With g₊ and g₋ the gradients of the weighted negative log-likelihoods of chosen and rejected answers (so that a
    plain step is θ − h (g₊ − g₋)) and h the learning rate:

    `virtual`: q = g₊(θ + κh/2 · g₋) − g₋(θ − κh/2 · g₊), the gradient of L + κh/2 · ⟨g₊, g₋⟩ up to h²: entanglement is
    what is penalised. Under Adam and AdamW q goes into the first moment and the plain g₊ − g₋ into the second one.

    `sequential`: θ' = θ − h g₊(θ), then θ' + h g₋(θ'), or the other way round, by a fair coin. On average over the
    coin it is the aggregate step less h²/2 · ∇⟨g₊, g₋⟩. Exact for plain gradient steps; other optimizers are given
    (θ − θ'')/h as a gradient.

    Nothing is differentiated twice. A step costs two to four passes; nothing is promised for single pairs.

    Args:
        kind: `virtual` or `sequential`.
        kappa: κ, for `virtual`; 0 is the plain step.
        strength: factor on κ (`virtual`) or on the first half's step (`sequential`); 0 for the plain step.

    Returns:
        The mitigation.

    Raises:
        InputError: there is no such kind.

    References:
        J. Yu, 2026 (blog post; not confirmed beyond notes on it).
    """
    if kind not in SPLITTING_KINDS:
        raise InputError(
            f"Parameter `kind` of mitigation `splitting` should be one of {', '.join(SPLITTING_KINDS)}. Found `{kind}`."
        )
    within("splitting", 0.0, float("inf"), kappa=kappa)
    within("splitting", 0.0, 1.0, strength=strength)
    reach = kappa if kind == "virtual" else 1.0
    parameters: dict[str, Value] = {"kind": kind, "kappa": kappa, "strength": strength}
    return Splitting("splitting", kind, reach, _BLOG, strength, parameters)
