"""Settings of the paper on gradient entanglement, as configurations of `preflens train`."""

from importlib.resources import files

from preflens.errors import InputError

RECIPES = ("tldr-lora", "sentiment", "hh", "ultrafeedback")


def recipe_text(name: str) -> str:
    """Return the text of a recipe.

    Args:
        name: one of `RECIPES`.

    Returns:
        YAML, with comments that name the source of each setting.

    Raises:
        InputError: there is no such recipe.
    """
    if name not in RECIPES:
        raise InputError(f"There is no recipe `{name}`. There are {', '.join(f'`{r}`' for r in RECIPES)}.")
    return files("preflens.train_config.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
