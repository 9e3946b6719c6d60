"""Console messages of a training run (rank 0 only)."""

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
# Without emoji: texts of the data may contain `:x:`.
OUTPUT, ERRORS = Console(quiet=not FIRST, emoji=False), Console(stderr=True, quiet=not FIRST, emoji=False)


def print_machine_defaults(configuration: Configuration) -> None:
    """Print which of TRL's defaults are changed on this machine.

    Args:
        configuration: of the run.
    """
    changed = machine_defaults()
    used = [f"{key}={value}" for key, value in changed.items() if getattr(configuration.run, key) == value]
    if used:
        why = "no accelerator" if "use_cpu" in changed else "no accelerator with bf16"
        ERRORS.print(f"There is {why} here: training with {', '.join(used)}.", style="dim", highlight=False)


def print_pair_counts(train: Any, held_out: Any) -> None:  # noqa: ANN401  # data sets of many kinds
    """Print the number of pairs of a run, where it is known.

    Args:
        train: training pairs.
        held_out: held-out pairs, or None.
    """
    if hasattr(train, "__len__"):
        others = "none held out (the probe uses batches only)" if held_out is None else f"{len(held_out)} held out"
        ERRORS.print(f"Pairs: {len(train)} to train on, {others}.", style="dim", highlight=False)


def print_training_reference(trainer: TrainerLike) -> None:
    """Print which reference model TRL uses, where the loss needs one.

    Args:
        trainer: about to train.
    """
    schedule = objective_of(trainer)
    if schedule is not None and not any(objective.needs_reference for objective in schedule.objectives):
        return
    model = unwrapped_model(trainer)
    adapters = getattr(model, "peft_config", {})
    reference = ("adapter-copy" if "ref" in adapters else "adapter-off") if adapters else "self"
    if reference == "adapter-copy" and uncopied_layers(model):
        reference = PARTIAL_COPY
    ERRORS.print(f"Reference: {reference_in_full(reference)}.", style="dim", highlight=False, soft_wrap=True)


def print_output_files(out: Path) -> None:
    """Print the paths of the files of a finished run.

    Args:
        out: its output folder.
    """
    paths = {
        "Model": out,
        "Log": out / "trainer_state.json",
        "Probe (pandas.read_parquet reads the folder)": out / "preflens" / "probe.parquet",
        "Samples": out / "preflens" / "samples.json",
    }
    for label, path in paths.items():
        if path.exists():
            OUTPUT.print(f"{label}: {escape(visible(str(path)))}", soft_wrap=True, highlight=False)


def print_error(error: PreflensError) -> None:
    """Print an error in one line, with the names of flags.

    Args:
        error: names arguments.
    """
    flags = {name.removeprefix("--"): name for name in option_names()}
    message = " ".join(visible(error.with_flags(flags | {"split": "--data_split"})).split())
    ERRORS.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)


def warn_about_rows(name: str, dropped: Mapping[str, int], noted: Mapping[str, int], *, of: int) -> None:
    """Warn about rows that were left out, and rows with notes.

    Args:
        name: of the rows.
        dropped: number of rows left out, by reason.
        noted: number of rows with a note, by note.
        of: number of all rows.
    """
    for verb, counts in (("left out", dropped), ("noted", noted)):
        for reason, count in counts.items():
            LOGGER.warning("%s: %d of %d rows %s (%s)", visible(name), count, of, verb, visible(reason))
