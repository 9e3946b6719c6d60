"""An objective with a modifier applied."""

from collections.abc import Mapping
from dataclasses import dataclass

from preflens.errors import ObjectiveError
from preflens.objectives.kinds.base import Citation, Kind, Objective
from preflens.objectives.kinds.coefficients import AutodiffObjective, checked, pair_coefficients, token_coefficients
from preflens.objectives.modifiers.base import Modifier
from preflens.pair_logps import PairLogps, PerPair
from preflens.types import PairCoefficients


def modified(objective: Objective, modifier: Modifier) -> "ModifiedObjective":
    """Apply a modifier to an objective.

    Args:
        objective: any objective, also a modified one.
        modifier: the modifier to apply.

    Returns:
        The modified objective.

    Raises:
        ObjectiveError: the modifier does not apply to this objective, or was applied already.

    Example:
        >>> from preflens.objectives import MODIFIERS, dpo, modified
        >>> modified(dpo(), MODIFIERS["ld"](alpha=0.3)).name
        'dpo@ld'
    """
    plain = objective
    while isinstance(plain, ModifiedObjective):
        if plain.modifier.name == modifier.name:
            raise ObjectiveError(f"Modifier `{modifier.name}` was given twice for objective `{objective.name}`.")
        plain = plain.objective
    reason = modifier.refusal(plain)
    if reason:
        raise ObjectiveError(f"Modifier `{modifier.name}` does not go with objective `{plain.name}`: {reason}.")
    return ModifiedObjective(objective, modifier)


@dataclass(frozen=True)
class ModifiedObjective(AutodiffObjective):
    """An objective with a modifier: ℓ'(a) = weight(a) · ℓ(change(a)).

    Attributes:
        objective: the objective that is modified.
        modifier: the modification.
    """

    objective: Objective
    modifier: Modifier

    @property
    def name(self) -> str:
        """The objective's name, `@`, and the modifier's name."""
        return f"{self.objective.name}@{self.modifier.name}"

    @property
    def parameters(self) -> Mapping[str, float]:
        """The hyperparameters of the objective, and those of the modifier, prefixed with its name."""
        of_modifier = {f"{self.modifier.name}.{k}": v for k, v in self.modifier.parameters.items()}
        return {**self.objective.parameters, **of_modifier}

    @property
    def source(self) -> Citation:
        """The paper of the modifier."""
        return self.modifier.source

    @property
    def kind(self) -> Kind:
        """`token` where the modifier weights tokens, otherwise the kind of the objective."""
        return "token" if self.modifier.per_token else self.objective.kind

    def loss(self, logps: PairLogps) -> PerPair:
        """Return the loss of each pair. Differentiable in the log-probs.

        Args:
            logps: log-probs in nats, with the other inputs of objective and modifier.

        Returns:
            The loss, no unit.
        """
        values = self.modifier.weight(logps) * self.objective.loss(self.modifier.change(logps))
        return checked(self.name, values, logps)

    def coefficients(self, logps: PairLogps) -> PairCoefficients:
        """Return d_w and d_l of each pair, and of each token where coefficients differ between tokens.

        Args:
            logps: log-probs in nats.

        Returns:
            The coefficients. They may be negative.
        """
        compute = token_coefficients if self.kind == "token" else pair_coefficients
        return compute(self.name, self.loss, logps)
