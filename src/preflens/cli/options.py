"""Options of several commands, each declared once."""

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Option

MODEL, DATA, STEP, RUN = "Model", "Data", "The steps", "Run"


class DtypeName(StrEnum):
    """Floating-point types of a loaded model."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class BadRow(StrEnum):
    """What to do with an invalid row."""

    STOP = "stop"
    DROP = "drop"


Model = Annotated[str, Option(help="Causal language model: a hub id or a folder.", rich_help_panel=MODEL)]
ReferenceOption = Annotated[
    str,
    Option(
        help="Where reference log-probs come from: a model (hub id or folder), another adapter (folder), `self` (the "
        "model itself, as at the first step of training), `adapter-copy` (the frozen copy that TRL keeps of an adapter "
        "that training continues from), `adapter-off` (the model without its adapter, as in a run that began without "
        "one), or `none`. Default: `adapter-copy` with an adapter, else `self`, as in TRL.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Adapter = Annotated[str | None, Option(help="PEFT adapter of the model: a hub id or a folder.", rich_help_panel=MODEL)]
Revision = Annotated[str | None, Option(help="Branch, tag or commit of a hub model.", rich_help_panel=MODEL)]
Parameters = Annotated[
    str,
    Option(
        help="Which parameters step: `all`, `lora` (everything that TRL trains with the adapter, with "
        "`modules_to_save` and trained tokens), `trainable` (those that need gradients as loaded), or a regular "
        "expression on their names. Default: `lora` with an adapter, else `all`.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Dtype = Annotated[DtypeName, Option(help="Type of the weights and of the computation.", rich_help_panel=MODEL)]
Device = Annotated[str, Option(help="Torch device. `auto` uses a GPU if there is one.", rich_help_panel=MODEL)]
Data = Annotated[
    str,
    Option(
        help="Preference pairs: json, jsonl (also .gz), parquet or csv file, `save_to_disk` folder, or hub id. Columns "
        "`chosen`, `rejected` and, unless it is their common beginning, `prompt`. Texts or messages.",
        rich_help_panel=DATA,
    ),
]
Split = Annotated[
    str | None,
    Option(help="Split of a folder or hub data set. Default: `train` if there is one.", rich_help_panel=DATA),
]
Config = Annotated[str | None, Option(help="Configuration of a hub data set.", rich_help_panel=DATA)]
ChatTemplate = Annotated[
    Path | None, Option(help="Jinja file that replaces the tokenizer's chat template.", rich_help_panel=DATA)
]
MaxLength = Annotated[
    int | None,
    Option(
        help="Tokens of prompt and response. Longer rows lose their end, as in TRL. Default: the smaller of 1024 and "
        "the model's context.",
        show_default=False,
        rich_help_panel=DATA,
    ),
]
Limit = Annotated[
    int | None, Option(help="Size of a random sample of the pairs.", show_default="all", rich_help_panel=DATA)
]
OnBadRowOption = Annotated[
    BadRow, Option(help="What to do with invalid rows: stop, or skip and count them.", rich_help_panel=DATA)
]
UpdateBatchSize = Annotated[
    int,
    Option(
        help="Pairs that share a step, at most. Batches are of equal size, or differ by one pair.", rich_help_panel=STEP
    ),
]
LearningRate = Annotated[float, Option(help="Learning rate of the plain gradient step.", rich_help_panel=STEP)]
Out = Annotated[
    Path,
    Option(
        help="Folder for the results. An interrupted run continues there. A different run is refused until that one is "
        "finished or discarded.",
        rich_help_panel=RUN,
    ),
]
Discard = Annotated[
    bool,
    Option(
        "--discard", help="Delete an unfinished run in `--out` and begin a new one.",
        rich_help_panel=RUN,
    ),
]  # fmt: skip
MicroBatchOption = Annotated[
    str, Option(help="Pairs in a forward pass, or `auto`. Changes memory, not numbers.", rich_help_panel=RUN)
]
Seed = Annotated[
    int, Option(help="Fixes everything that is drawn: sample, held-out pairs, update batches.", rich_help_panel=RUN)
]
Progress = Annotated[bool, Option(help="Show progress bars.", rich_help_panel=RUN)]


def command_line() -> str:
    """Return the command line that repeats this run, without `--discard`."""
    return shlex.join(["preflens", *(part for part in sys.argv[1:] if part != "--discard")])
