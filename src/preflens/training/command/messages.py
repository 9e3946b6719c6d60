"""What a run says to the person who started it; only the first process speaks."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from preflens.errors import PreflensError
from preflens.language_models.adapters import uncopied_layers
from preflens.records.analysis_wording import PARTIAL_COPY, reference_in_full
from preflens.records.visible_characters import visible
from preflens.training.command.configuration import Configuration, machine_defaults, option_names
from preflens.training.probe.alerts import LOGGER
from preflens.training.trainer_protocol import TrainerLike, objective_of, unwrapped_model

FIRST = int(os.environ.get("RANK", "0")) == 0
# Without emoji: a text of data may hold `:x:`.
OUTPUT, ERRORS = Console(quiet=not FIRST, emoji=False), Console(stderr=True, quiet=not FIRST, emoji=False)


def say_what_this_machine_changes(configuration: Configuration) -> None:
    """Say which defaults are not TRL's.

    Args:
        configuration: of the run.
    """
    changed = machine_defaults()
    kept = [f"{key}={value}" for key, value in changed.items() if getattr(configuration.run, key) == value]
    if kept:
        why = "no accelerator" if "use_cpu" in changed else "no accelerator with bf16"
        ERRORS.print(f"There is {why} here: training with {', '.join(kept)}.", style="dim", highlight=False)


def say_how_many(train: Any, held_out: Any) -> None:  # noqa: ANN401  # data sets of many kinds
    """Say how many pairs a run has, where they can be counted.

    Args:
        train: pairs to train on.
        held_out: pairs to watch, or None.
    """
    if hasattr(train, "__len__"):
        apart = "none held out (the probe sees batches only)" if held_out is None else f"{len(held_out)} held out"
        ERRORS.print(f"Pairs: {len(train)} to train on, {apart}.", style="dim", highlight=False)


def say_reference(trainer: TrainerLike) -> None:
    """Say which reference TRL took, where the loss has one.

    Args:
        trainer: that is about to train.
    """
    ours = objective_of(trainer)
    if ours is not None and not any(objective.needs_reference for objective in ours.objectives):
        return
    model = unwrapped_model(trainer)
    adapters = getattr(model, "peft_config", {})
    word = ("adapter-copy" if "ref" in adapters else "adapter-off") if adapters else "self"
    copy = PARTIAL_COPY if word == "adapter-copy" and uncopied_layers(model) else word
    ERRORS.print(f"Reference: {reference_in_full(copy)}.", style="dim", highlight=False, soft_wrap=True)


def print_output_files(out: Path) -> None:
    """Say where a finished run left its files.

    Args:
        out: its output folder.
    """
    places = {
        "Model": out,
        "Log": out / "trainer_state.json",
        "Probe (pandas.read_parquet reads the folder)": out / "preflens" / "probe.parquet",
        "Samples": out / "preflens" / "samples.json",
    }
    for what, where in places.items():
        if where.exists():
            OUTPUT.print(f"{what}: {escape(visible(str(where)))}", soft_wrap=True, highlight=False)


def say_mistake(error: PreflensError) -> None:
    """Say in one line, with the names of flags, what cannot be done.

    Args:
        error: about it.
    """
    flags = {name.removeprefix("--"): name for name in option_names()}
    message = " ".join(visible(error.with_flags(flags | {"split": "--data_split"})).split())
    ERRORS.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)


def say_what_became(name: str, dropped: Mapping[str, int], noted: Mapping[str, int], *, of: int) -> None:
    """Say which rows were left out, and what is worth knowing of the others.

    Args:
        name: of the rows.
        dropped: how many, by reason.
        noted: how many, by what.
        of: all rows.
    """
    for verb, counts in (("left out", dropped), ("noted", noted)):
        for why, count in counts.items():
            LOGGER.warning("%s: %d of %d rows %s (%s)", visible(name), count, of, verb, visible(why))
