"""A mitigation in a trainer: which way it takes, what it refuses, what it logs."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from preflens.errors import InputError, UnsupportedModelError
from preflens.gram.training_step.deferred import DeferredGradients
from preflens.language_models.batch import PairBatch
from preflens.mitigations import CoefficientMap, LearnedMasks, Mitigation, MovingAverages, Splitting, TokenMask
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives.kinds.base import Objective
from preflens.objectives.schedule import Schedule
from preflens.pair_logps import PairLogps
from preflens.training.mitigation.effect import EffectLogger
from preflens.training.mitigation.held_out_constraints import ConstraintPairs, check_guard, guarded_pairs
from preflens.training.mitigation.one_pass import OnePassReweighting
from preflens.training.mitigation.splitting import SplitSteps
from preflens.training.mitigation.state import Memory, StateSaver, load_memory
from preflens.training.mitigation.token_masks import MaskedSteps
from preflens.training.mitigation.two_pass import TwoPassReweighting, geometry_of, why_no_books
from preflens.training.probe.held_out import ProbePairs
from preflens.training.trainer_protocol import (
    ObjectiveTrainerLike,
    is_peft,
    log_metric,
    micro_batches_of_update,
    prepared_inputs,
    unwrapped_model,
)

LOGGER = logging.getLogger("preflens")


class MitigationController:
    """What a trainer asks of a mitigation.

    Args:
        trainer: a `PreferenceTrainer`.
        mitigation: of strength above 0.
        window: whether maps of batches see all micro-batches of an update together.
        guarded: held-out pairs that a cone keeps from harm.
    """

    def __init__(
        self, trainer: ObjectiveTrainerLike, mitigation: Mitigation, *, window: bool, guarded: ConstraintPairs | None
    ) -> None:
        self._trainer, self._mitigation, self._guarded = trainer, mitigation, guarded
        maps = mitigation if isinstance(mitigation, CoefficientMap) else None
        self._books = None if maps is None else OnePassReweighting(maps, window=window, guarded=guarded)
        self._masks = MaskedSteps(mitigation) if isinstance(mitigation, TokenMask) else None
        self._split = SplitSteps(trainer, mitigation) if isinstance(mitigation, Splitting) else None
        self._second: TwoPassReweighting | None = None
        self._audited = False
        self._promise = EffectLogger(trainer)
        for callback in filter(None, (self._promise, self._split, StateSaver(lambda: self.memory))):
            trainer.add_callback(callback)
        if self._books is not None and trainer.accelerator.num_processes > 1:
            self._take_second_pass("several processes train together")

    @classmethod
    def of(
        cls,
        trainer: ObjectiveTrainerLike,
        mitigation: Mitigation | str | None,
        *,
        window: bool | None,
        guard: ProbePairs | None,
    ) -> "MitigationController | None":
        """Make one where there is something to do.

        Args:
            trainer: a `PreferenceTrainer`.
            mitigation: the mitigation or its text.
            window: see `PreferenceTrainer`.
            guard: its `mitigation_probe`.

        Returns:
            None where there is no mitigation, or one of strength 0.

        Raises:
            InputError: pairs are to be guarded that cannot be.
        """
        made = parse_mitigation(mitigation) if isinstance(mitigation, str) else mitigation
        check_guard(None if made is None else made.name, guard)
        if made is None or made.strength == 0:
            return None
        guarded = None if guard is None else guarded_pairs(trainer, guard)
        peft = is_peft(unwrapped_model(trainer))
        return cls(trainer, made, window=peft if window is None else window, guarded=guarded)

    @property
    def memory(self) -> Memory | None:
        """What the mitigation remembers."""
        if self._split is not None:
            return self._split.coin.get_state()
        holder = self._masks or self._second or self._books
        assert holder is not None
        return holder.state

    def recall(self, folder: Path) -> None:
        """Go on from what was saved with a checkpoint.

        Args:
            folder: of the checkpoint.
        """
        found = load_memory(folder)
        if self._split is not None and isinstance(found, Tensor):
            self._split.coin.set_state(found)
        elif self._masks is not None and isinstance(found, LearnedMasks):
            self._masks.state = found
        elif self._masks is None and isinstance(found, MovingAverages):
            for holder in (self._books, self._second):
                if holder is not None:
                    holder.state = found

    @property
    def running(self) -> DeferredGradients | None:
        """The books of the micro-batch under way."""
        return None if self._books is None else self._books.running

    @property
    def repeats(self) -> bool:
        """Whether the pass under way repeats one of the same step that was logged already."""
        return self._split is not None and self._split.again and self._split.side is not None

    def check(self, objective: Schedule, *, replace_head: bool | None) -> bool | None:
        """Refuse what does not go together.

        Args:
            objective: of the trainer.
            replace_head: as it was asked for.

        Returns:
            Whether response rows only have to be scored.

        Raises:
            InputError: something does not go together.
        """
        trainer, name = self._trainer, self._mitigation.name
        kwargs = trainer.args.gradient_checkpointing_kwargs or {}
        reasons = {
            "objectives that weigh tokens": any(o.kind == "token" for o in objective.objectives),
            "the router loss": trainer.aux_loss_enabled,
            "float16 with a gradient scaler": trainer.accelerator.scaler is not None,
            "reentrant gradient checkpointing": trainer.args.gradient_checkpointing and kwargs.get("use_reentrant"),
            "WPO's weighting": trainer.use_weighting,
        }
        found = [reason for reason, there in reasons.items() if there]
        if found:
            raise InputError(f"Mitigation `{name}` does not go together with {', '.join(found)}.")
        if self._books is not None and replace_head is False:
            raise InputError(f"Mitigation `{name}` needs `replace_head`, which is off here.")
        return replace_head if self._books is None else True

    def step(self, plain: Callable[[], Tensor]) -> Tensor:
        """Run a micro-batch.

        Args:
            plain: TRL's training step.

        Returns:
            The loss.
        """
        trainer = self._trainer
        if self._split is not None:
            return self._split.run(plain)
        if self._books is not None and not self._audited:
            self._audit(plain)
        if self._books is None or self._second is not None:
            loss = plain()
            self._log({} if self._second is None else self._second.metrics)
            return loss
        half = trainer.args.bf16 or trainer.args.fp16
        model = unwrapped_model(trainer)
        loss, metrics = self._books.run(
            model, plain, accumulated=micro_batches_of_update(trainer),
            last=trainer.accelerator.sync_gradients, dtype=torch.bfloat16 if half else model.dtype,
        )  # fmt: skip
        self._log(metrics)
        return loss

    def loss(self, objective: Objective, logps: PairLogps, batch: PairBatch, inputs: dict[str, Tensor]) -> Tensor:
        """Compute the loss that is differentiated.

        Args:
            objective: of this step.
            logps: of the micro-batch.
            batch: its rows.
            inputs: the same as the trainer has it.

        Returns:
            Mean over the pairs.
        """
        if self._promise.wanted and not self.repeats:
            self._promise.note(inputs, torch.cat([logps.chosen, logps.rejected]))
        if self._masks is not None:
            model, own = unwrapped_model(self._trainer), self._trainer.own_pass
            made = self._masks.masked(logps, batch, objective, model=model, forward=lambda b: partial(own, b))
            self._log({"mitigation/kept": self._masks.kept})
            return objective.loss(made).mean()
        if self.running is not None:
            self.running.keep_frozen()
        loss = objective.loss(logps).mean()
        if self._split is not None:
            return self._split.loss(loss, logps)
        if self._second is not None:
            loss = self._second.mitigated(loss, logps, partial(geometry_of, self._trainer, batch))
        return loss

    def _audit(self, plain: Callable[[], Tensor]) -> None:
        """Before the first step: does the engine account for every parameter of this model?"""
        assert isinstance(plain, partial)
        inputs = plain.args[1] if len(plain.args) > 1 else plain.keywords["inputs"]
        prepared = prepared_inputs(self._trainer, inputs)
        masks = (prepared[name].bool() for name in ("attention_mask", "completion_mask"))
        self._audited = True
        why = why_no_books(self._trainer, PairBatch(prepared["input_ids"], *masks))
        if why is not None:
            self._take_second_pass(why)

    def _take_second_pass(self, why: str) -> None:
        if self._guarded is not None:
            raise UnsupportedModelError(f"`mitigation_probe` cannot be used: {why}")
        LOGGER.warning(
            "Mitigation `%s` takes a pass of its own for the geometry of every micro-batch, because %s",
            self._mitigation.name, why,
        )  # fmt: skip
        assert isinstance(self._mitigation, CoefficientMap)
        assert self._books is not None
        self._second = TwoPassReweighting(self._mitigation)
        self._second.state = self._books.state

    def _log(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            log_metric(self._trainer, name, value)
