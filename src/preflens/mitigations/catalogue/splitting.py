"""Splitting: the gradients of chosen and rejected responses are evaluated at different points."""

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
    """A mitigation that combines an update from several gradients.

    Attributes:
        name: the name in the table of mitigations.
        kind: the update, one of `SPLITTING_KINDS`.
        kappa: distance of the points at which the two gradients are evaluated, in steps.
        source: the source.
        strength: factor on κ.
        parameters: hyperparameters, by name.

    Example:
        >>> from preflens.mitigations import Splitting, splitting
        >>> isinstance(splitting(), Splitting), splitting(kind="sequential").kind
        (True, 'sequential')
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
    """Evaluate each side's gradient at the point reached by the other side's step.

    With g₊ and g₋ the gradients of the weighted negative log-likelihoods of chosen and rejected responses (so that a
    plain step is θ − h (g₊ − g₋)) and h the learning rate:

    `virtual`: q = g₊(θ + κh/2 · g₋) − g₋(θ − κh/2 · g₊), the gradient of L + κh/2 · ⟨g₊, g₋⟩ up to h²: entanglement is
    penalized. Under Adam and AdamW q goes into the first moment and the plain g₊ − g₋ into the second one.

    `sequential`: θ' = θ − h g₊(θ), then θ' + h g₋(θ'), or the other way round, with probability ½ each. In expectation
    it is the aggregate step less h²/2 · ∇⟨g₊, g₋⟩. Exact for plain gradient steps; other optimizers get (θ − θ'')/h as
    the gradient.

    No second derivative is needed. A step costs two to four passes. Nothing is guaranteed for single pairs.

    Args:
        kind: `virtual` or `sequential`.
        kappa: κ, for `virtual`; 0 is the plain step.
        strength: factor on κ (`virtual`) or on the first half's step (`sequential`); 0 for the plain step.

    Returns:
        The mitigation.

    Raises:
        InputError: `kind` is unknown, or a parameter is out of range.

    Example:
        >>> from preflens.mitigations import splitting
        >>> splitting(kind="virtual", kappa=2.0, strength=0.5).reach
        1.0

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
