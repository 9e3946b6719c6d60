"""Coefficients that the loss of a run would give held-out pairs."""

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature

import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.errors import ObjectiveError
from preflens.language_models.tokenizing import TokenizedPair
from preflens.objectives.kinds.base import Objective
from preflens.objectives.trl import trl_objective
from preflens.pair_logps import PairLogps
from preflens.training.probe.evaluator import PairEvaluator
from preflens.training.probe.held_out_reference import HeldOutReference
from preflens.training.trainer_protocol import TrainerLike, objective_of
from preflens.types import PairCoefficients

# Inputs of objectives that are known for pairs of which only the summed log-probs are.
_KNOWN_INPUTS = frozenset({"reference", "length"})


class HeldOutLoss:
    """Computes the coefficients of held-out pairs, as if each were a batch of the run by itself.

    Losses that compare pairs of a batch, or weight tokens, do not determine the coefficients of a single pair.

    Args:
        trainer: a DPOTrainer, about to train.
        evaluator: scores pairs.
        pairs: the held-out pairs of this process.
        fresh: whether the policy has not been trained since the trainer was made.
    """

    def __init__(
        self, trainer: TrainerLike, evaluator: PairEvaluator, pairs: Sequence[TokenizedPair], *, fresh: bool
    ) -> None:
        self._trainer = trainer
        needs_reference = bool(pairs) and self._may_need_reference()
        self._reference = HeldOutReference(trainer, evaluator, pairs, fresh=fresh) if needs_reference else None

    def __call__(
        self, pairs: Sequence[TokenizedPair], chosen: Float64[Tensor, " pair"], rejected: Float64[Tensor, " pair"]
    ) -> PairCoefficients | None:
        """Return d_w and d_l of pairs.

        Args:
            pairs: some of the held-out pairs.
            chosen: log-probs of the chosen responses now, nats.
            rejected: likewise for rejected responses.

        Returns:
            The coefficients, or None where the loss does not determine them.
        """
        objective = self._objective()
        if objective is None or objective.kind not in {"margin", "pairwise"} or not objective.inputs <= _KNOWN_INPUTS:
            return None
        lengths = torch.tensor([pair.scored_tokens for pair in pairs]).T
        logps = PairLogps(chosen, rejected, chosen_tokens=lengths[0], rejected_tokens=lengths[1])
        if objective.needs_reference:
            reference = None if self._reference is None else self._reference(pairs)
            if reference is None:
                return None
            logps = replace(logps, ref_chosen=reference[0], ref_rejected=reference[1])
        return objective.coefficients(logps)

    def _objective(self) -> Objective | None:
        schedule = objective_of(self._trainer)
        if schedule is not None:
            return schedule.at(self._trainer.state.global_step)
        names = set(signature(trl_objective).parameters)
        try:
            return trl_objective(**{k: v for k, v in vars(self._trainer.args).items() if k in names})
        except ObjectiveError:
            return None

    def _may_need_reference(self) -> bool:
        schedule = objective_of(self._trainer)
        return schedule is None or any(objective.needs_reference for objective in schedule.objectives)
