"""TRL's DPOTrainer for any objective, with the probe, mitigations, and the gradient geometry of training batches."""

from collections.abc import Callable, Sequence
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
from preflens.training.loss import ReferenceRows, ScoredRows, pair_batch, pair_logps
from preflens.training.mitigation.controller import MitigationController
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.held_out import TOKENS, ProbePairs
from preflens.training.probe.metrics import GRAM_NAMES, PREFIX, finite_values, gram_metrics
from preflens.training.trainer_protocol import LogSplit, log_metric, prepared_inputs, unwrapped_model
from preflens.training.trainer_settings import check_settings
from preflens.training.trl_logging import log_batch, log_geometry
from preflens.training.trl_rewards import logged_values, rewards_need_reference
from preflens.training.unreached import check_first_step
from preflens.types import HeadInput

_NOT_FOR_THE_MODEL = {"completion_mask", "ref_chosen_logps", "ref_rejected_logps"}


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]  # trl is not annotated
    """Trains on preference pairs with any objective; everything else is TRL's `DPOTrainer`.

    Args:
        *args: of `trl.DPOTrainer`.
        objective: an objective, its text (`dpo:beta=0.05`, `0.7*dpo+0.3*sft`, `sft -> dpo @ 100`) or a `Schedule`; None
            for the loss of `args`, as TRL computes it.
        probe: forecasts and measures steps: a callback, or True for one with its defaults.
        geometry_every: log the gradient geometry of the batch every this many steps, read off the backward pass of the
            step itself; None for never. Needs an objective.
        replace_head: score response rows only, in place of TRL's fused head; None for wherever that is possible and
            cheaper, which is off the GPU.
        mitigation: changes the coefficients of every step, or weights tokens: its text (`normalized`,
            `cone:floor=0.2`), or a mitigation. Strength 0 is the same as None.
        mitigation_window: apply a mitigation of scope `batch` to all micro-batches of an update together. Their
            responses' gradients are kept until the last one, which is cheap for adapters only: the default is True with
            PEFT.
        mitigation_probe: for `cone`: held-out pairs added as constraints, so that no step harms them either: how many
            rows of the evaluation data, or a file, folder or hub id, or rows. They cost one pass per step.
        **kwargs: of `trl.DPOTrainer`.

    Attributes:
        objective: what is trained, by step; None for TRL's own loss.
        mitigation: applies the mitigation; None without one.

    Raises:
        InputError: arguments cannot be combined.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from datasets import Dataset
        >>> from trl import DPOConfig
        >>> from preflens.demo.tiny_model import make_model, make_tokenizer
        >>> rows = [{"prompt": "the film was", "chosen": " good", "rejected": " bad"}]
        >>> tokenizer = make_tokenizer()
        >>> with TemporaryDirectory() as folder:
        ...     make_model(tokenizer, seed=0).save_pretrained(folder)
        ...     trainer = PreferenceTrainer(
        ...         model=folder,
        ...         args=DPOConfig(folder, report_to="none", use_cpu=True, bf16=False),
        ...         train_dataset=Dataset.from_list(rows),
        ...         processing_class=tokenizer,
        ...         objective="0.7*dpo:beta=0.2+0.3*sft",
        ...     )
        >>> [type(objective).__name__ for objective in trainer.objective.objectives]
        ['WeightedSum']
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
        parsed = objective if objective is None or isinstance(objective, Schedule) else schedule(objective)
        self.objective: Schedule | None = parsed
        self._geometry_every = geometry_every
        self._observer: BackwardObserver | None = None
        self._batch: PairBatch | None = None
        self._has_stepped = self._has_settled = False
        self._plain_head: tuple[PlainHead | None] | None = None  # None until the first call of `own_pass`
        self.mitigation = MitigationController.of(
            self, mitigation, whole_update=mitigation_window, constraints=mitigation_probe
        )
        self._replaces_head = check_settings(
            self, self.mitigation, geometry_every=geometry_every, replace_head=replace_head
        )
        if probe:
            (PreflensCallback() if probe is True else probe).attach(self)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # TRL's
        """Return rows unchanged that hold token ids and no texts: they are tokenized already."""
        columns = set(getattr(dataset, "column_names", None) or ())
        if set(TOKENS) <= columns and not {"prompt", "chosen", "rejected"} & columns:
            return dataset
        return super()._prepare_dataset(dataset, *args, **kwargs)

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool) -> Any:  # noqa: ANN401  # TRL's
        if self.objective is None:
            return super()._compute_loss(model, inputs, return_outputs)
        objective = self.objective.at(self.state.global_step)
        mitigation, batch = self.mitigation if self.model.training else None, pair_batch(inputs)
        self._batch = batch if self.model.training else None
        with self._head(batch, self._observer if mitigation is None else mitigation.capture or self._observer):
            outputs = model(**self._model_inputs(inputs), fused_lm_head=True)
        rows = _scored(outputs, inputs)
        compares = objective.needs_reference or rewards_need_reference(objective)
        reference = self._reference(inputs, batch) if compares else None
        confidence, width = outputs.log_sum_sq_probs, rows.mask.shape[1]
        logps = pair_logps(rows, reference, None if confidence is None else confidence[:, -width:])
        if mitigation is None:
            loss = objective.loss(logps).mean()
        else:
            loss = mitigation.loss(objective, logps, batch, inputs=inputs)
        if self.aux_loss_enabled:
            loss = loss + self._router_loss(outputs)
        if mitigation is not None and mitigation.repeats:
            return (loss, outputs) if return_outputs else loss
        with torch.no_grad():
            logged = logged_values(objective, logps, beta=self.beta)
            log_batch(self, inputs, outputs, rows=rows, logps=logged[0], rewards=logged[1])
        if not return_outputs:
            return loss
        with torch.no_grad():  # TRL returns logits, which its fused head does not have
            return loss, model(**{k: v for k, v in self._model_inputs(inputs).items() if k != "labels"})

    def _router_loss(self, outputs: Any) -> Tensor:  # noqa: ANN401  # TRL's FusedCausalLMOutput
        over_processes = self.accelerator.gather_for_metrics(outputs.aux_loss)
        split: LogSplit = "train" if self.model.training else "eval"
        log_metric(self, "aux_loss", over_processes.mean().item(), split=split)
        loss: Tensor = self.router_aux_loss_coef * outputs.aux_loss
        return loss

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401  # TRL's
        """Train on a micro-batch: with the mitigation, or with geometry, or plainly."""
        inputs = args[1] if len(args) > 1 else kwargs["inputs"]
        step = partial(super().training_step, *args, **kwargs)

        def batch() -> PairBatch:
            return pair_batch(prepared_inputs(self, inputs))

        try:
            if self.mitigation is not None:
                return self.mitigation.step(step, batch)
            if self._geometry_every is not None and (self.state.global_step + 1) % self._geometry_every == 0:
                return self._step_with_geometry(step, batch)
            is_first, self._has_stepped = not self._has_stepped, True
            loss: Tensor = check_first_step(self, step, batch) if is_first else step()
            return loss
        finally:
            self._batch = None

    def _step_with_geometry(self, step: Callable[[], Tensor], batch: Callable[[], PairBatch]) -> Tensor:
        model = unwrapped_model(self)
        if not self._has_settled:  # once: find the module call that gives the gradient of each parameter
            self._has_settled = True
            with self.compute_loss_context_manager():
                pair_gram(model, partial(self.own_pass, batch()), dropout=True)
        with observe_backward(model) as observer:
            self._observer = observer
            try:
                loss = step()
            finally:
                self._observer = None
        metrics: dict[str, float] = {}
        if observer.observed:  # false where the loss weights the tokens of a response differently
            assert self._batch is not None
            gram = observer.pair_gram(fallback=partial(self.own_pass, self._batch))
            metrics = finite_values(gram_metrics(gram))
        log_geometry(self, metrics, [PREFIX + name for name in GRAM_NAMES])
        return loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.mitigation is not None:
            self.mitigation.restore(Path(resume_from_checkpoint))

    def logps_of(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return log-probs of a batch as training computes them, chosen responses first, nats."""
        with self.compute_loss_context_manager(), self._head(pair_batch(inputs)):
            return _scored(self.model(**self._model_inputs(inputs), fused_lm_head=True), inputs).totals()

    def own_pass(self, batch: PairBatch) -> HeadInput | Tensor:
        """Run a forward pass up to the head, or to log-probs where the head is not a plain linear layer."""
        model = unwrapped_model(self)
        if self._plain_head is None:
            self._plain_head = (plain_head(model, batch),)
        (head,) = self._plain_head
        return response_logps(model, batch) if head is None else head_input(head, batch)

    def _head(
        self, batch: PairBatch, observer: BackwardObserver | DeferredGradients | None = None
    ) -> AbstractContextManager[None]:
        return response_rows_only(batch, observer) if self._replaces_head else nullcontext()

    def _model_inputs(self, inputs: dict[str, Tensor]) -> dict[str, Any]:
        arguments: dict[str, Any] = {k: v for k, v in inputs.items() if k not in _NOT_FOR_THE_MODEL}
        arguments["labels"] = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        arguments["use_cache"] = False
        if self.aux_loss_enabled:
            arguments["output_router_logits"] = True
        is_observed = self._observer is not None or (
            self.mitigation is not None and self.mitigation.capture is not None
        )
        if is_observed and self._takes_positions():
            # Otherwise a model may look up one row of positions for all responses.
            arguments["position_ids"] = positions(inputs["attention_mask"].bool())
        return arguments

    def _takes_positions(self) -> bool:
        return "position_ids" in signature(type(without_adapter_wrapper(unwrapped_model(self))).forward).parameters

    def _reference(self, inputs: dict[str, Tensor], batch: PairBatch) -> ReferenceRows:
        if self.precompute_ref_logps:
            return inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        model = self.model if self.ref_model is None else self.ref_model
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs))
            stack.enter_context(self._head(batch))
            if self.ref_model is None:
                peft_model = self.accelerator.unwrap_model(self.model)
                name = "ref" if "ref" in peft_model.peft_config else None
                stack.enter_context(flags_kept(peft_model))
                stack.enter_context(use_adapter(peft_model, adapter_name=name))
            arguments = {k: v for k, v in self._model_inputs(inputs).items() if k != "output_router_logits"}
            return _scored(model(**arguments, fused_lm_head=True), inputs)


def _scored(outputs: Any, inputs: dict[str, Tensor]) -> ScoredRows:  # noqa: ANN401  # TRL's FusedCausalLMOutput
    mask = inputs["completion_mask"][:, 1:].bool()
    return ScoredRows(outputs.log_probs[:, -mask.shape[1] :], mask)
