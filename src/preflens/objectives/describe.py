"""Descriptions of objectives and modifiers, read from their docstrings, for pages and the terminal."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc, signature

from preflens.objectives.first_step import condition_of
from preflens.objectives.kinds.base import Citation, Objective
from preflens.objectives.kinds.weighted_sum import WeightedSum
from preflens.objectives.modifiers import MODIFIERS, ModifiedObjective
from preflens.objectives.table import OBJECTIVES


@dataclass(frozen=True)
class Description:
    """The description of an objective, in sections.

    Attributes:
        title: the first line.
        formula: the loss, with its margin form where it has one.
        coefficients: d_w and d_l.
        condition: when a step moves both log-probs as intended.
        domain: the log-probs at which loss and coefficients exist.
        helps: when to consider it.
        parameters: the meaning of each parameter, with its default and the source of the default.
        note: differences between papers and code, and what is not confirmed; may be empty.
        source: the paper.
    """

    title: str
    formula: str
    coefficients: str
    condition: str
    domain: str
    helps: str
    parameters: dict[str, str]
    note: str
    source: Citation


def describe(name: str) -> Description:
    """Return the description of an objective.

    Args:
        name: a key of `OBJECTIVES`.

    Returns:
        The description.
    """
    factory = OBJECTIVES[name]
    objective, parts = factory(), _parts(factory)
    return Description(
        title=parts["title"],
        formula=parts["formula"],
        coefficients=parts["Coefficients"],
        condition=condition_of(objective),
        domain=parts["Domain"],
        helps=parts["Helps"],
        parameters=_parameters(factory),
        note=parts.get("Note", ""),
        source=objective.source,
    )


def describe_modifier(name: str) -> str:
    """Return the description of a modifier.

    Args:
        name: a key of `MODIFIERS`.

    Returns:
        Its docstring up to the arguments, one line per paragraph.
    """
    text = cleandoc(MODIFIERS[name].__doc__ or "")
    return re.split(r"\n\n(?:Args|Returns):", text)[0].replace("\n\n", "\0").replace("\n", " ").replace("\0", "\n")


def sources_of(objective: Objective) -> list[Citation]:
    """Return the papers of an objective and of its parts.

    Args:
        objective: any objective.

    Returns:
        The papers, each once.
    """
    if isinstance(objective, WeightedSum):
        sources = [source for _, term in objective.terms for source in sources_of(term)]
    elif isinstance(objective, ModifiedObjective):
        sources = [*sources_of(objective.objective), objective.source]
    else:
        sources = [objective.source]
    return list(dict.fromkeys(sources))


def _parts(factory: Callable[..., object]) -> dict[str, str]:
    paragraphs = cleandoc(factory.__doc__ or "").split("\n\n")
    parts = {"title": paragraphs[0].rstrip(".")}
    for paragraph in paragraphs[1:]:
        label = re.match(r"(Coefficients|Domain|Helps|Note):\s+", paragraph)
        text = " ".join(paragraph[label.end() if label else 0 :].split())
        if label:
            parts[label[1]] = text
        elif "ℓ =" in paragraph:
            parts["formula"] = text
    return parts


def _parameters(factory: Callable[..., object]) -> dict[str, str]:
    defaults = {p.name: p.default for p in signature(factory).parameters.values()}
    section = re.search(r"\nArgs:\n(.*?)\n\n", cleandoc(factory.__doc__ or ""), re.DOTALL)
    parameters: dict[str, str] = {}
    for match in re.finditer(r"^    (\w+): (.*(?:\n        .*)*)", section[1] if section else "", re.MULTILINE):
        parameters[f"{match[1]}={defaults[match[1]]:g}"] = " ".join(match[2].split())
    return parameters
