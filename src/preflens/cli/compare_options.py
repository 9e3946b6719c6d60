"""Options of `preflens compare` only."""

from typing import Annotated

from typer import Option

from preflens.cli import options

_OBJECTIVES = "Objectives"

CompareObjectives = Annotated[
    str,
    Option(
        help="`all`, or names with parameters: `dpo,simpo:beta=2,gamma=1,slic`. See `preflens objectives`.",
        rich_help_panel=_OBJECTIVES,
    ),
]
Grid = Annotated[
    list[str],
    Option(
        help="Values of a parameter to compare, too: `dpo.beta=0.01,0.1,1`. Repeat the option for more parameters. All "
        "combinations of the values of one objective are compared.",
        rich_help_panel=_OBJECTIVES,
    ),
]
MitigationOption = Annotated[
    list[str],
    Option(
        help="Also compare steps changed by a mitigation: `normalized`, `band:margin=0.2`, … For every objective "
        "that is "
        "named, or for `dpo`. Repeat the option for more.",
        rich_help_panel=_OBJECTIVES,
    ),
]
PerPairOption = Annotated[
    bool, Option("--per-pair", help="Also predict the change of each held-out pair.", rich_help_panel=_OBJECTIVES)
]
Probe = Annotated[
    str | None,
    Option(
        help="Held-out pairs, in any format that `--data` accepts.", show_default=False, rich_help_panel=options.DATA
    ),
]
ProbeFraction = Annotated[
    float,
    Option(
        help="Without `--probe`: share of the pairs to hold out, whole prompts at a time.", rich_help_panel=options.DATA
    ),
]
ProbeSplit = Annotated[
    str | None, Option(help="`--split` for `--probe`.", show_default=False, rich_help_panel=options.DATA)
]
Horizon = Annotated[
    str, Option(help="Numbers of steps after which the rollout is reported.", rich_help_panel=options.STEP)
]
MarginGain = Annotated[
    float,
    Option(
        help="Nats of margin (held-out chosen minus rejected) that the rescaled rollout gains by its last step, at the "
        "pace of its first.",
        rich_help_panel=options.STEP,
    ),
]
RolloutPairsOption = Annotated[
    int,
    Option(
        help="Training pairs that the rollout follows, in whole update batches (at least one), and likewise held-out "
        "pairs.",
        rich_help_panel=options.STEP,
    ),
]
CompareVerify = Annotated[
    str,
    Option(
        help="Objectives whose steps are really taken, measured and undone: `dpo,slic`, or `all`.",
        show_default=False,
        rich_help_panel=options.STEP,
    ),
]
SmallSteps = Annotated[
    int,
    Option(
        help="With `--verify`: number of update batches that take one small real step each.",
        rich_help_panel=options.STEP,
    ),
]
