"""Small training runs with TRL."""

import copy

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from tests.cases.language_models import tiny_lora, tiny_model, tiny_tokenizer

WORDS = ("yes", "no", "maybe", "the sea", "two dogs", "hill", "over", "ran")


def rows():
    """Pairs whose responses differ in length."""
    return [{"prompt": "the sky is", "chosen": f" blue {w}", "rejected": f" green and {w}"} for w in WORDS]


def policy_and_reference(*, lora=False, kind="llama", **changes):
    torch.manual_seed(0)
    if lora:
        return tiny_lora(dtype=torch.float32, kind=kind, **changes), None
    model = tiny_model(kind, dtype=torch.float32, **changes)
    return model, copy.deepcopy(model)


def make_trainer(
    folder,
    *,
    trainer=DPOTrainer,
    model=None,
    reference=None,
    lora=False,
    callbacks=(),
    data=None,
    held_out=None,
    **changes,
):
    """A trainer over eight pairs, or data; what is not said is TRL's default, gradient checkpointing among it."""
    if model is None:
        model, reference = policy_and_reference(lora=lora)
    own = {
        k: changes.pop(k)
        for k in (
            "objective",
            "probe",
            "geometry_every",
            "replace_head",
            "mitigation",
            "mitigation_window",
            "mitigation_probe",
            "peft_config",
        )
        if k in changes
    }
    arguments = {
        "output_dir": str(folder), "use_cpu": True, "bf16": False, "report_to": "none", "max_steps": 4,
        "per_device_train_batch_size": 2, "save_strategy": "no", "logging_steps": 1, "learning_rate": 1e-3,
        "disable_tqdm": True, "max_grad_norm": 1.0, "lr_scheduler_type": "constant",
    }  # fmt: skip
    data = Dataset.from_list(rows()) if data is None else data
    held_out = data.select(range(3)) if held_out is None else held_out
    torch.manual_seed(1)
    return trainer(
        model=model, ref_model=reference, args=DPOConfig(**(arguments | changes)), train_dataset=data,
        eval_dataset=held_out, processing_class=tiny_tokenizer(), callbacks=list(callbacks), **own,
    )  # fmt: skip


def final_state(trainer):
    """Everything that training leaves: weights, optimizer state, random state, losses."""
    optimizer = trainer.optimizer.state_dict()["state"]
    losses = [(log["loss"], log["grad_norm"]) for log in trainer.state.log_history if "loss" in log]
    tensors = [
        *trainer.model.state_dict().values(),
        *(v for s in optimizer.values() for v in s.values() if torch.is_tensor(v)),
    ]
    return [*tensors, torch.get_rng_state()], losses


def in_the_old_layout(trainer):
    """All pairs as one batch of TRL's trainers with `concatenated_forward`."""
    batch = next(iter(trainer.get_train_dataloader()))
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    parts = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}
    return {f"{side}_{key}": half for key, part in parts.items() for side, half in
            zip(("chosen", "rejected"), part.chunk(2), strict=True)}  # fmt: skip
