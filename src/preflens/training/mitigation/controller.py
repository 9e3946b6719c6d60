"""The mitigation of a trainer: which strategy applies it, which settings it refuses, what it logs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from preflens.errors import InputError
from preflens.gram.training_step.deferred import DeferredGradients
from preflens.language_models.batch import PairBatch
from preflens.mitigations import CoefficientMap, Mitigation, Splitting, TokenMask
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives.kinds.base import Objective
from preflens.objectives.schedule import Schedule
from preflens.pair_logps import PairLogps
from preflens.training.mitigation.effect import EffectLogger
from preflens.training.mitigation.held_out_constraints import check_constraints, constraint_pairs
from preflens.training.mitigation.one_pass import reweighting
from preflens.training.mitigation.splitting import SplitUpdates
from preflens.training.mitigation.state import StateSaver, load_state
from preflens.training.mitigation.strategy import Strategy, StrategyContext, TrainingStep
from preflens.training.mitigation.token_masks import TokenMasking
from preflens.training.probe.held_out import ProbePairs
from preflens.training.trainer_protocol import ObjectiveTrainerLike, is_peft, log_metric, unwrapped_model

# Makes the strategy for each kind of mitigation.
STRATEGIES: Mapping[type, Callable[[Any, StrategyContext], Strategy]] = {  # Any: each takes its own kind
    CoefficientMap: reweighting,
    TokenMask: TokenMasking,
    Splitting: SplitUpdates,
}


class MitigationController:
    """Applies a mitigation in a trainer.

    Args:
        mitigation: of strength above 0.
        context: the trainer and its settings.

    Attributes:
        strategy: applies the mitigation; replaced before the first step where it does not work with the model.
    """

    def __init__(self, mitigation: Mitigation, context: StrategyContext) -> None:
        self._trainer, self._mitigation = context.trainer, mitigation
        self.strategy = STRATEGIES[type(mitigation)](mitigation, context)
        self._is_prepared = False
        self._effect = EffectLogger(context.trainer)
        self._trainer.add_callback(self._effect)
        if isinstance(self.strategy, TrainerCallback):
            self._trainer.add_callback(self.strategy)
        self._trainer.add_callback(StateSaver(lambda: self.strategy.state))

    @classmethod
    def of(
        cls,
        trainer: ObjectiveTrainerLike,
        mitigation: Mitigation | str | None,
        *,
        whole_update: bool | None,
        constraints: ProbePairs | None,
    ) -> "MitigationController | None":
        """Make a controller where there is something to mitigate.

        Args:
            trainer: a `PreferenceTrainer`.
            mitigation: the mitigation or its text.
            whole_update: the trainer's `mitigation_window`; None for True with PEFT.
            constraints: the trainer's `mitigation_probe`.

        Returns:
            None where there is no mitigation, or one of strength 0.

        Raises:
            InputError: constraint pairs are given that cannot be used.
        """
        parsed = parse_mitigation(mitigation) if isinstance(mitigation, str) else mitigation
        check_constraints(None if parsed is None else parsed.name, constraints)
        if parsed is None or parsed.strength == 0:
            return None
        return cls(
            parsed,
            StrategyContext(
                trainer=trainer,
                whole_update=is_peft(unwrapped_model(trainer)) if whole_update is None else whole_update,
                constraints=None if constraints is None else constraint_pairs(trainer, constraints),
            ),
        )

    def restore(self, folder: Path) -> None:
        """Continue with the state that was saved with a checkpoint.

        Args:
            folder: of the checkpoint.
        """
        state = load_state(folder)
        if state is not None:
            self.strategy.restore(state)

    @property
    def capture(self) -> DeferredGradients | None:
        """The per-response gradients of the micro-batch in progress, where they are captured."""
        return self.strategy.capture

    @property
    def repeats(self) -> bool:
        """Whether the pass in progress repeats one of the same step, which was logged already."""
        return self.strategy.repeats

    def check(self, objective: Schedule, *, replace_head: bool | None) -> bool | None:
        """Refuse settings that cannot be combined with the mitigation.

        Args:
            objective: of the trainer.
            replace_head: the trainer's argument.

        Returns:
            Whether response rows only have to be scored; None where both work.

        Raises:
            InputError: a setting cannot be combined with the mitigation.
        """
        trainer, name = self._trainer, self._mitigation.name
        kwargs = trainer.args.gradient_checkpointing_kwargs or {}
        conflicts = {
            "objectives that weigh tokens": any(o.kind == "token" for o in objective.objectives),
            "the router loss": trainer.aux_loss_enabled,
            "float16 with a gradient scaler": trainer.accelerator.scaler is not None,
            "reentrant gradient checkpointing": trainer.args.gradient_checkpointing and kwargs.get("use_reentrant"),
            "WPO's weighting": trainer.use_weighting,
        }
        present = [setting for setting, is_set in conflicts.items() if is_set]
        if present:
            raise InputError(f"Mitigation `{name}` cannot be combined with {', '.join(present)}.")
        if self.strategy.needs_response_rows and replace_head is False:
            raise InputError(f"Mitigation `{name}` needs `replace_head`, which is off here.")
        return True if self.strategy.needs_response_rows else replace_head

    def step(self, step: TrainingStep, batch: Callable[[], PairBatch]) -> Tensor:
        """Run a micro-batch.

        Args:
            step: TRL's training step.
            batch: makes its pairs; called before the first step only.

        Returns:
            The loss.
        """
        if not self._is_prepared:
            self._is_prepared = True
            self.strategy = self.strategy.prepare(batch())
        loss, metrics = self.strategy.run(step)
        for name, value in metrics.items():
            log_metric(self._trainer, name, value)
        return loss

    def loss(self, objective: Objective, logps: PairLogps, batch: PairBatch, *, inputs: dict[str, Tensor]) -> Tensor:
        """Compute the loss to differentiate.

        Args:
            objective: of this step.
            logps: log-probs of the micro-batch, with their graph, nats.
            batch: its pairs.
            inputs: the same as the trainer has it.

        Returns:
            Mean over the pairs.
        """
        if self._effect.is_due and not self.repeats:
            self._effect.note(inputs, torch.cat([logps.chosen, logps.rejected]))
        return self.strategy.loss(objective, logps, batch)
