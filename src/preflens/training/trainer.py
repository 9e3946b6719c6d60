"""TRL's DPOTrainer for any objective, with the probe built in and geometry at the price of a cheaper head."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from trl import DPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from preflens.errors import InputError
from preflens.gram import pair_gram
from preflens.gram.training_step.deferred import DeferredGradients
from preflens.gram.training_step.observer import BackwardObserver, observe_backward
from preflens.language_models.batch import PairBatch, positions
from preflens.language_models.logps import response_logps
from preflens.language_models.model import flags_kept, without_adapter_wrapper
from preflens.language_models.output_head import PlainHead, head_input, plain_head
from preflens.language_models.quantized import never_packing
from preflens.mitigations import Mitigation
from preflens.objectives.kinds.base import Objective
from preflens.objectives.schedule import Schedule, schedule
from preflens.training.fused_head import response_rows_only
from preflens.training.loss import ReferenceRows, ScoredRows, pair_logps
from preflens.training.mitigation.controller import MitigationController
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.held_out import TOKENS, ProbePairs
from preflens.training.probe.metrics import GRAM_NAMES, PREFIX, finite_values, gram_metrics
from preflens.training.trainer_protocol import log_metric, prepared_inputs, unwrapped_model
from preflens.training.trl_logging import log_batch, log_geometry
from preflens.training.trl_rewards import as_logged, rewards_need_reference
from preflens.training.unreached import check_first_step
from preflens.types import HeadInput

_NO_MODEL_INPUT = {"completion_mask", "ref_chosen_logps", "ref_rejected_logps"}


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]  # trl is not annotated
    """Trains on preference pairs with any objective; everything else is TRL's.

    Args:
        *args: of `trl.DPOTrainer`.
        objective: an objective, its text (`dpo:beta=0.05`, `0.7*dpo+0.3*sft`, `sft -> dpo @ 100`) or a `Schedule`; None
            for the loss of `args`, as TRL computes it.
        probe: watches the run: a callback, or True for one with its defaults.
        geometry_every: log the gradient geometry of the batch every so many steps, read off the backward pass that
            runs anyway; None for never. Needs an objective.
        replace_head: score response rows only, in place of TRL's fused head; None for wherever that is possible and
            cheaper, which is off the GPU.
        mitigation: changes the coefficients of every step, or weighs tokens: its text (`normalized`,
            `cone:floor=0.2`), or a mitigation. At strength 0 nothing is different from None.
        mitigation_window: let a mitigation of whole batches see all micro-batches of an update together. Their
            responses' gradients are kept meanwhile, which is cheap for adapters only: the default is True with PEFT.
        mitigation_probe: for `cone`: held-out pairs that no step is to harm, beside those that it trains on: how many
            rows of the evaluation data, or a file, folder or hub id, or rows. They cost a pass a step.
        **kwargs: of `trl.DPOTrainer`.

    Raises:
        InputError: what is asked does not go together.
    """

    _tag_names: ClassVar = ["trl", "dpo", "preflens"]

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  # TRL's
        objective: Schedule | Objective | str | Sequence[tuple[int, Objective | str]] | None = None,
        probe: PreflensCallback | bool | None = None,
        geometry_every: int | None = None,
        replace_head: bool | None = None,
        mitigation: Mitigation | str | None = None,
        mitigation_window: bool | None = None,
        mitigation_probe: ProbePairs | None = None,
        **kwargs: Any,  # noqa: ANN401  # TRL's
    ) -> None:
        super().__init__(*args, **kwargs)
        never_packing(self.model)
        made = objective if objective is None or isinstance(objective, Schedule) else schedule(objective)
        self.objective: Schedule | None = made
        self._geometry_every, self._replace_head = geometry_every, replace_head
        self._ride: BackwardObserver | None = None
        self._stepped = self._settled = False
        self._own_head: tuple[PlainHead | None] | None = None  # None until the first pass of our own
        self.mitigation = MitigationController.of(self, mitigation, window=mitigation_window, guard=mitigation_probe)
        self._check()
        if probe:
            (PreflensCallback() if probe is True else probe).attach(self)

    def _check(self) -> None:
        if self.objective is None:
            if self._geometry_every is not None or self._replace_head or self.mitigation is not None:
                raise InputError(
                    "`geometry_every`, `replace_head` and `mitigation` need an `objective`; without one TRL is "
                    "untouched."
                )
            return
        args, untouched = self.args, self.args.loss_weights is None and not self.args.label_smoothing
        if args.ld_alpha is not None or self.f_divergence_type != "reverse_kl" or not untouched:
            raise InputError(
                "With an `objective`, `ld_alpha`, `f_divergence_type`, `label_smoothing` and `loss_weights` of the "
                "configuration are not read. Put it in the objective: `dpo@ld:alpha=0.5`, `dpo@forward_kl`, `cdpo`."
            )
        if list(self.loss_types) != ["sigmoid"]:
            raise InputError(
                f"Give an `objective` or a `loss_type`, not both. Found {self.loss_types} beside an objective."
            )
        weighted = any("token confidence" in o.inputs for o in self.objective.objectives)
        if weighted != bool(self.use_weighting):
            raise InputError("`use_weighting=True` in the configuration and an objective with `@wpo` go together only.")
        if self.mitigation is not None:
            self._replace_head = self.mitigation.check(self.objective, replace_head=self._replace_head)
            if self._geometry_every is not None:
                raise InputError("With a `mitigation`, the geometry is logged anyway: leave out `geometry_every`.")
        if self._replace_head is None:
            self._replace_head = self.accelerator.device.type == "cpu" and not weighted
        if self._geometry_every is not None and (not self._replace_head or self.aux_loss_enabled):
            raise InputError("`geometry_every` needs `replace_head`, which is off here, and a loss of log-probs alone.")

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # TRL's
        """Leave rows alone that hold token ids and no texts: they were tokenised as for every other command."""
        columns = set(getattr(dataset, "column_names", None) or ())
        if set(TOKENS) <= columns and not {"prompt", "chosen", "rejected"} & columns:
            return dataset
        return super()._prepare_dataset(dataset, *args, **kwargs)

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool) -> Any:  # noqa: ANN401  # TRL's
        if self.objective is None:
            return super()._compute_loss(model, inputs, return_outputs)
        objective = self.objective.at(self.state.global_step)
        mitigating = self.mitigation if self.model.training else None
        with self._head(inputs, self._ride if mitigating is None else mitigating.running or self._ride):
            outputs = model(**self._model_inputs(inputs), fused_lm_head=True)
        rows = _scored(outputs, inputs)
        compares = objective.needs_reference or rewards_need_reference(objective)
        reference = self._reference(inputs) if compares else None
        confidence = outputs.log_sum_sq_probs
        width = rows.mask.shape[1]
        logps = pair_logps(rows, reference, None if confidence is None else confidence[:, -width:])
        if mitigating is None:
            loss = objective.loss(logps).mean()
        else:
            loss = mitigating.loss(objective, logps, _pair_batch(inputs), inputs)
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss
            everywhere = self.accelerator.gather_for_metrics(outputs.aux_loss)
            log_metric(self, "aux_loss", everywhere.mean().item(), split="train" if self.model.training else "eval")
        if mitigating is not None and mitigating.repeats:
            return (loss, outputs) if return_outputs else loss
        with torch.no_grad():
            log_batch(self, inputs, outputs, rows, *as_logged(objective, logps, beta=self.beta))
        if not return_outputs:
            return loss
        with torch.no_grad():  # TRL hands out logits, which its fused head does not have
            return loss, model(**{k: v for k, v in self._model_inputs(inputs).items() if k != "labels"})

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401  # TRL's
        """Train on a micro-batch, and read its geometry off the backward pass if that is wanted."""
        if self.mitigation is not None:
            mitigated: Tensor = self.mitigation.step(partial(super().training_step, *args, **kwargs))
            return mitigated
        inputs = args[1] if len(args) > 1 else kwargs["inputs"]
        if self._geometry_every is None or (self.state.global_step + 1) % self._geometry_every:
            step, first = partial(super().training_step, *args, **kwargs), not self._stepped
            self._stepped = True
            plain: Tensor = (
                check_first_step(self, step, lambda: _pair_batch(prepared_inputs(self, inputs))) if first else step()
            )
            return plain
        if not self._settled:  # once: where every parameter's gradient is read off
            self._settled = True
            batch = _pair_batch(prepared_inputs(self, inputs))
            with self.compute_loss_context_manager():
                pair_gram(unwrapped_model(self), partial(self.own_pass, batch), dropout=True)
        with observe_backward(unwrapped_model(self)) as ride:
            self._ride = ride
            try:
                loss: Tensor = super().training_step(*args, **kwargs)
            finally:
                self._ride = None
        found: dict[str, float] = {}
        if ride.observed:  # not where the tokens of a response count differently
            batch = _pair_batch(inputs)
            found = finite_values(gram_metrics(ride.pair_gram(fallback=partial(self.own_pass, batch))))
        log_geometry(self, found, [PREFIX + name for name in GRAM_NAMES])
        return loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.mitigation is not None:
            self.mitigation.recall(Path(resume_from_checkpoint))

    def logps_of(self, inputs: dict[str, Tensor]) -> Tensor:
        """Score a batch as it is scored in training; chosen responses first, nats."""
        with self.compute_loss_context_manager(), self._head(inputs):
            return _scored(self.model(**self._model_inputs(inputs), fused_lm_head=True), inputs).totals()

    def own_pass(self, batch: PairBatch) -> HeadInput | Tensor:
        """For responses to which the loss sends nothing back."""
        model = unwrapped_model(self)
        if self._own_head is None:
            self._own_head = (plain_head(model, batch),)
        (head,) = self._own_head
        return response_logps(model, batch) if head is None else head_input(head, batch)

    def _head(
        self, inputs: dict[str, Tensor], ride: BackwardObserver | DeferredGradients | None = None
    ) -> AbstractContextManager[None]:
        if not self._replace_head:
            return nullcontext()
        return response_rows_only(_pair_batch(inputs), ride)

    def _model_inputs(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        found: dict[str, Any] = {k: v for k, v in inputs.items() if k not in _NO_MODEL_INPUT}
        found["labels"] = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        found["use_cache"] = False
        if self.aux_loss_enabled:
            found["output_router_logits"] = True
        riding_along = self._ride is not None or (self.mitigation is not None and self.mitigation.running is not None)
        if riding_along and self._takes_positions():
            # Left to itself a model may look up one row of positions for all responses.
            found["position_ids"] = positions(inputs["attention_mask"].bool())
        return found

    def _takes_positions(self) -> bool:
        base = without_adapter_wrapper(unwrapped_model(self))
        return "position_ids" in signature(type(base).forward).parameters

    def _reference(self, inputs: dict[str, Tensor]) -> ReferenceRows:
        if self.precompute_ref_logps:
            return inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        model = self.model if self.ref_model is None else self.ref_model
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs))
            stack.enter_context(self._head(inputs))
            if self.ref_model is None:
                peft_model = unwrapped_model(self)
                name = "ref" if "ref" in peft_model.peft_config else None
                stack.enter_context(flags_kept(peft_model))
                stack.enter_context(use_adapter(peft_model, adapter_name=name))
            wanted = {k: v for k, v in self._model_inputs(inputs).items() if k != "output_router_logits"}
            return _scored(model(**wanted, fused_lm_head=True), inputs)


def _scored(outputs: Any, inputs: dict[str, Tensor]) -> ScoredRows:  # noqa: ANN401  # TRL's FusedCausalLMOutput
    mask = inputs["completion_mask"][:, 1:].bool()
    return ScoredRows(outputs.log_probs[:, -mask.shape[1] :], mask)


def _pair_batch(inputs: dict[str, Tensor]) -> PairBatch:
    return PairBatch(inputs["input_ids"], *(inputs[name].bool() for name in ("attention_mask", "completion_mask")))
