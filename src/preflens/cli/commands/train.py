"""`preflens train`: preference training with TRL and the probe."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from preflens.cli.terminal.console import OUTPUT
from preflens.errors import InputError
from preflens.train_config.recipes import RECIPES, recipe_text


def train_command(
    options: Annotated[list[str] | None, Argument(metavar="[OPTIONS OF TRL AND ACCELERATE]", hidden=True)] = None,
    config: Annotated[
        Path | None, Option(help="YAML file with options, named like the flags. Flags override it.")
    ] = None,
    recipe: Annotated[
        str | None, Option(help=f"Settings of the paper: {', '.join(RECIPES)}. `--config` and flags override them.")
    ] = None,
    show: Annotated[bool, Option("--print", help="Print the recipe with the source of each setting.")] = False,
    run: Annotated[bool, Option("--run", help="Train with the recipe.")] = False,
) -> None:
    """Train on preference pairs with any objective, with predicted and measured changes of both log-probs per step.

    Every option of `trl dpo` and of `accelerate launch` works too, in the file and as a flag: `--learning_rate 1e-6
    --use_peft --report_to tensorboard --output_dir out --num_processes 2` (all of them: `trl dpo --help`). Options can
    be spelt with `_` or `-`.

    Example: preflens train --model gpt2 --data pairs.jsonl --objective simpo --eval_fraction 0.05 --output_dir out
    """
    text = _recipe(recipe, show=show, run=run)
    if show:
        OUTPUT.print(text, end="", markup=False, highlight=False, soft_wrap=True)
        return
    files = [*(["--recipe", recipe] if recipe else []), *(["--config", str(config)] if config else [])]
    from preflens.training.command.launch import launch_training

    code = launch_training([*files, *(options or [])])
    if code:
        sys.exit(code)


def _recipe(name: str | None, *, show: bool, run: bool) -> str:
    """The text of the recipe, or an empty one. `--print` and `--run` need a recipe, and a recipe needs one of them."""
    if name is None and not (show or run):
        return ""
    if name is None:
        raise InputError(f"`--print` and `--run` need `--recipe`. There are {', '.join(f'`{r}`' for r in RECIPES)}.")
    text = recipe_text(name)
    if show == run:
        raise InputError(f"Say what to do with the recipe: `--recipe {name} --print` or `--recipe {name} --run`.")
    return text
