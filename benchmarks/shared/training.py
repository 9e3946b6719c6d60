"""Trainers over random pairs, and the time of their steps."""

import tempfile
import time
from statistics import median

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer

from benchmarks.shared.models import Case

TOKENS = 128


class Stopwatch(TrainerCallback):
    """Callback that times optimizer steps from begin to end."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: object, **__: object) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_step_end(self, *_: object, **__: object) -> None:
        """Stop the clock."""
        self.seconds.append(time.perf_counter() - self._start)


def make_trainer(case: Case, kind: type[DPOTrainer], *, pairs: int, steps: int, **own: object) -> DPOTrainer:
    """Make a trainer of a fresh model with TRL's defaults, except gradient checkpointing and bf16.

    Args:
        case: which model.
        kind: class of the trainer.
        pairs: in a step.
        steps: of a call of `train`.
        **own: arguments of our trainer.

    Returns:
        The trainer, with a stopwatch.
    """
    torch.manual_seed(0)
    model = case.make()
    reference = None if hasattr(model, "peft_config") else case.make()
    args = DPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to="none", max_steps=steps, save_strategy="no",
        per_device_train_batch_size=pairs, gradient_checkpointing=False, disable_tqdm=True, logging_steps=10_000,
    )  # fmt: skip
    trainer = kind(
        model=model, ref_model=reference, args=args, train_dataset=_random_rows(case.vocabulary, pairs * steps),
        processing_class=_tokenizer(case.vocabulary), **own,
    )  # fmt: skip
    trainer.stopwatch = Stopwatch()
    trainer.add_callback(trainer.stopwatch)
    return trainer


def step_seconds(trainers: dict[str, DPOTrainer], *, rounds: int) -> dict[str, float]:
    """Time the steps of trainers that take turns.

    Args:
        trainers: by name.
        rounds: turns of each. The first turn, and the first step of a turn, are not counted.

    Returns:
        Median seconds per step.
    """
    taken: dict[str, list[float]] = {name: [] for name in trainers}
    for number in range(rounds + 1):
        for name, trainer in trainers.items():
            trainer.stopwatch.seconds.clear()
            trainer.train()
            if number:
                taken[name] += trainer.stopwatch.seconds[1:]
    return {name: median(times) for name, times in taken.items()}


def _random_rows(vocabulary: int, count: int) -> Dataset:
    half = TOKENS // 2
    ids = torch.randint(1, vocabulary, (3, count, half))
    ids[1:, :, -1] = 0  # the end of sequence, which TRL would add
    words = _words(vocabulary)
    names = ("prompt", "chosen", "rejected")
    texts = [[" ".join(words[i] for i in row) for row in side.tolist()] for side in ids]
    spaced = [texts[0], *([" " + text for text in side] for side in texts[1:])]
    return Dataset.from_dict(dict(zip(names, spaced, strict=True)))


def _tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(_words(vocabulary))}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<end>", eos_token="<end>")


def _words(vocabulary: int) -> list[str]:
    return ["<end>", *(f"w{i}" for i in range(1, vocabulary))]
