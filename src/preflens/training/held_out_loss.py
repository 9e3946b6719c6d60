"""What the loss of a run would send to held-out pairs, which it never sees."""

from collections.abc import Sequence
from dataclasses import fields
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.errors import ObjectiveError
from preflens.language_models.batch import collate
from preflens.language_models.model import flags_kept
from preflens.language_models.tokenizing import TokenizedPair
from preflens.log_probs import PairLogps
from preflens.objectives.base import Objective
from preflens.objectives.trl import trl_objective
from preflens.training.looking import Looker
from preflens.types import PairCoefficients

# What can be said about pairs that are known by the sums of their log-probs.
_KNOWN = frozenset({"reference", "length"})


class HeldOutLoss:
    """Coefficients of held-out pairs, as if each were a batch of the run by itself.

    Losses that other pairs of the batch enter, or that weigh tokens, say nothing about a pair alone.

    Args:
        trainer: a DPOTrainer, about to train.
        looker: scores pairs.
        pairs: the held-out pairs of this process.
        fresh: whether the policy has not been trained since the trainer was made.
    """

    def __init__(self, trainer: Any, looker: Looker, pairs: Sequence[TokenizedPair], *, fresh: bool) -> None:  # noqa: ANN401  # trl's
        self._trainer, self._fresh = trainer, fresh
        self._reference = self._reference_logps(looker, pairs) if pairs and self._asks_for_reference() else None
        self._places = {id(pair): k for k, pair in enumerate(pairs)}

    def __call__(
        self, pairs: Sequence[TokenizedPair], chosen: Float64[Tensor, " pair"], rejected: Float64[Tensor, " pair"]
    ) -> PairCoefficients | None:
        """Return d_w and d_l of pairs.

        Args:
            pairs: some of the held-out pairs.
            chosen: log-probs of the chosen responses now, nats.
            rejected: of the rejected ones.

        Returns:
            The coefficients, or None where the loss cannot tell.
        """
        objective = self._objective()
        if objective is None or objective.kind not in {"margin", "pairwise"} or not objective.inputs <= _KNOWN:
            return None
        lengths = torch.tensor([pair.scored_tokens for pair in pairs]).T
        logps = PairLogps(chosen, rejected, chosen_tokens=lengths[0], rejected_tokens=lengths[1])
        if objective.needs_reference:
            if self._reference is None:
                return None
            here = [self._places[id(pair)] for pair in pairs]
            ref_chosen, ref_rejected = (side[here] for side in self._reference)
            logps = PairLogps(
                chosen, rejected, ref_chosen, ref_rejected, chosen_tokens=lengths[0], rejected_tokens=lengths[1]
            )
        return objective.coefficients(logps)

    def _objective(self) -> Objective | None:
        ours = getattr(self._trainer, "objective", None)
        if ours is not None:
            found: Objective = ours.at(self._trainer.state.global_step)
            return found
        wanted = set(signature(trl_objective).parameters)
        try:
            return trl_objective(**{k: v for k, v in vars(self._trainer.args).items() if k in wanted})
        except ObjectiveError:
            return None

    def _asks_for_reference(self) -> bool:
        ours = getattr(self._trainer, "objective", None)
        return ours is None or any(objective.needs_reference for objective in ours.objectives)

    def _reference_logps(
        self, looker: Looker, pairs: Sequence[TokenizedPair]
    ) -> tuple[Float64[Tensor, " pair"], Float64[Tensor, " pair"]] | None:
        """Log-probs under the reference model; None where a resumed run has none any more."""
        trainer = self._trainer
        if getattr(trainer.args, "sync_ref_model", False):
            return None  # it changes during the run
        adapter = hasattr(trainer.accelerator.unwrap_model(trainer.model), "peft_config")
        if trainer.ref_model is None and not adapter:
            if trainer.state.global_step > 0 or not self._fresh:
                return None
            chosen, rejected = looker.logps(pairs).chunk(2)  # before the first step the policy is the reference
            return chosen, rejected
        model = trainer.model if trainer.ref_model is None else trainer.ref_model
        sides: list[tuple[Tensor, Tensor]] = []
        with flags_kept(trainer.model):
            for pair in pairs:
                batch = collate([pair], pad_token_id=looker.scorer.pad_token_id, device=trainer.accelerator.device)
                inputs = {field.name: getattr(batch, field.name).long() for field in fields(batch)}
                sides.append(trainer.compute_ref_log_probs(model, inputs))
        chosen, rejected = (torch.cat([side[k] for side in sides]).double().cpu() for k in (0, 1))
        return chosen, rejected
