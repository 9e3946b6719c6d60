"""An objective in words: what its docstring says, in sections that a page or a terminal can show."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc, signature

import torch

from preflens.errors import NumericalError
from preflens.objectives import MODIFIERS, OBJECTIVES
from preflens.objectives.kinds.base import Citation, Objective
from preflens.objectives.kinds.weighted_sum import WeightedSum
from preflens.objectives.modifiers import ModifiedObjective
from preflens.pair_logps import PairLogps


@dataclass(frozen=True)
class Description:
    """An entry of the catalogue in words.

    Attributes:
        title: the first line.
        formula: the loss and how it comes about.
        coefficients: d_w and d_l.
        condition: when a step moves both sides as intended.
        domain: where loss and coefficients exist.
        helps: when to think of it.
        parameters: what each parameter means, with its default and where that comes from.
        note: where papers and code differ, and what is not confirmed; may be empty.
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
    """Describe an entry of the table of objectives.

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
    """Return what a modifier does.

    Args:
        name: a key of `MODIFIERS`.

    Returns:
        Its docstring up to the arguments, one line a paragraph.
    """
    text = cleandoc(MODIFIERS[name].__doc__ or "")
    return re.split(r"\n\n(?:Args|Returns):", text)[0].replace("\n\n", "\0").replace("\n", " ").replace("\0", "\n")


def sources_of(objective: Objective) -> list[Citation]:
    """Collect the papers of an objective and of whatever it is made of.

    Args:
        objective: any objective.

    Returns:
        The papers, each once.
    """
    if isinstance(objective, WeightedSum):
        found = [source for _, term in objective.terms for source in sources_of(term)]
    elif isinstance(objective, ModifiedObjective):
        found = [*sources_of(objective.objective), objective.source]
    else:
        found = [objective.source]
    return list(dict.fromkeys(found))


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
    found: dict[str, str] = {}
    for match in re.finditer(r"^    (\w+): (.*(?:\n        .*)*)", section[1] if section else "", re.MULTILINE):
        found[f"{match[1]}={defaults[match[1]]:g}"] = " ".join(match[2].split())
    return found


EQUAL = (
    "d_w = d_l always. For positive coefficients the chosen response rises and the rejected one falls iff "
    "⟨g_w,g_l⟩ < min(‖g_w‖², ‖g_l‖²)."
)
GENERAL = (
    "chosen rises iff d_w ‖g_w‖² > d_l ⟨g_w,g_l⟩, rejected falls iff d_l ‖g_l‖² > d_w ⟨g_w,g_l⟩. For positive "
    "coefficients both hold iff ⟨g_w,g_l⟩ < min(r ‖g_w‖², ‖g_l‖²/r), r = d_w/d_l."
)
BY_TOKEN = (
    "tokens have coefficients of their own: chosen rises iff Σ_t d_{w,t} ⟨g_w,g_{w,t}⟩ > Σ_t d_{l,t} ⟨g_w,g_{l,t}⟩, "
    "with g_{w,t} and g_{l,t} the gradients of single tokens; likewise for the rejected one."
)


def condition_of(objective: Objective) -> str:
    """Say when a step of an objective moves both sides of a pair as intended.

    Args:
        objective: any objective.

    Returns:
        A sentence; the short one where d_w = d_l on all of many drawn log-probs.

    References:
        Yuan et al., arXiv 2410.13828, Condition 1 and Section 3.2.
    """
    if objective.kind == "token":
        return BY_TOKEN
    try:
        c = objective.coefficients(_drawn())
    except NumericalError:
        return GENERAL
    return EQUAL if torch.allclose(c.chosen, c.rejected, rtol=1e-9, atol=0) else GENERAL


def at_reference(objective: Objective) -> str:
    """Say what the first step does: the coefficients of one pair where the policy is still the reference model.

    Args:
        objective: any objective.

    Returns:
        A sentence with d_w and d_l, and a warning where one is negative.
    """
    same, count = torch.full((1,), -20.0, dtype=torch.float64), torch.full((1,), 10)
    token = torch.full((1, 10), -2.0, dtype=torch.float64)
    logps = PairLogps(
        same, same, same, same, count, count, token, token, token, token, token, token, same, same,
    )  # fmt: skip
    try:
        c = objective.coefficients(logps)
    except NumericalError as error:
        return f"no coefficients with these parameters. {error}"
    d_w, d_l = c.chosen.item(), c.rejected.item()
    text = f"d_w = {d_w:.3g}, d_l = {d_l:.3g} for a pair with 10 tokens and −20 nats on each side"
    if d_w < 0 and d_l < 0:
        return f"{text}: the first step runs backwards."
    sides = [side for side, d in (("descends the chosen", d_w), ("climbs the rejected", d_l)) if d < 0]
    return f"{text}: the first step {sides[0]} response." if sides else f"{text}."


def _drawn() -> PairLogps:
    """Log-probs of a thousand pairs near their reference, where every objective is defined."""
    draw = torch.Generator().manual_seed(0)
    ref_w, ref_l = -20 - 20 * torch.rand((2, 1000), generator=draw, dtype=torch.float64)
    near = 0.6 * torch.rand((2, 1000), generator=draw, dtype=torch.float64) - 0.3
    counts = torch.randint(1, 9, (2, 1000), generator=draw)
    level = torch.full((1000, 1), -1.0, dtype=torch.float64)
    return PairLogps(
        ref_w + near[0], ref_l + near[1], ref_w, ref_l, counts[0], counts[1], level, level, level, level, level, level,
        future_chosen=ref_w + 2 * near[0], future_rejected=ref_l + 2 * near[1],
    )  # fmt: skip
