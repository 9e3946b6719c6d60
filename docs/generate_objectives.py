"""Write docs/objectives.md from the catalogue: `python docs/generate_objectives.py`."""

from pathlib import Path

from preflens.objectives import MODIFIERS, NOT_INCLUDED, OBJECTIVES, TRL_LOSS_TYPES
from preflens.objectives.describe import describe, describe_modifier
from preflens.objectives.first_step import at_reference
from preflens.objectives.parse import objective_label
from preflens.objectives.trl import TrlSettings

INTRODUCTION = """# The catalogue of objectives

*Written by `docs/generate_objectives.py` from the docstrings. `preflens objectives NAME` adds a BibTeX entry. Terms
are in the [glossary](glossary.md).*

a_w and a_l are the log-probs of the chosen and the rejected response, r_w and r_l those under the reference model, |y|
token counts, σ the logistic function. A plain step with learning rate η moves the parameters by η (d_w g_w − d_l g_l),
where g_w = ∇a_w, g_l = ∇a_l, d_w = −∂ℓ/∂a_w and d_l = +∂ℓ/∂a_l. Coefficients may be negative; nothing is clamped.

**Condition.** The chosen response rises iff d_w ‖g_w‖² > d_l ⟨g_w,g_l⟩, and the rejected one falls iff
d_l ‖g_l‖² > d_w ⟨g_w,g_l⟩ (Yuan et al., arXiv 2410.13828). With positive coefficients and r = d_w/d_l both hold iff
⟨g_w,g_l⟩ < min(r ‖g_w‖², ‖g_l‖²/r).

**Kinds.** `margin`: a function of one margin and of the chosen log-prob. `pairwise`: any function of the pair's two
log-probs. `batch`: other pairs of the update batch enter; coefficients are N times the derivative of the mean loss of
its N pairs. `token`: each token of a response has its own coefficient, so log-probs of whole responses are not enough.
A **?** marks what is reconstructed or not confirmed; the note says what."""


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION, _table(), *(_section(name) for name in OBJECTIVES), _modifiers(), _trl(), _left_out()]
    return "\n\n".join(parts) + "\n"


def _table() -> str:
    lines = ["| name | kind | needs | paper |", "| --- | --- | --- | --- |"]
    for name, factory in OBJECTIVES.items():
        objective, source = factory(), factory().source
        needs, mark = ", ".join(sorted(objective.inputs)) or "–", " **?**" if source.unverified else ""
        paper = f"[{source.authors} {source.year}]({source.link}){mark}"
        lines.append(f"| [`{name}`](#{name}) | {objective.kind} | {needs} | {paper} |")
    return "\n".join(lines)


def _section(name: str) -> str:
    about, objective = describe(name), OBJECTIVES[name]()
    lines = [
        f"## {name}",
        f"{about.title}. {about.formula}",
        f"- **Coefficients:** {about.coefficients}",
        f"- **Condition:** {about.condition}",
        f"- **At the reference:** {at_reference(objective)}",
        f"- **Domain:** {about.domain}",
        f"- **Helps:** {about.helps}",
        *(f"- `{parameter}`: {text}" for parameter, text in about.parameters.items()),
        *([f"- **Note:** {about.note}"] if about.note else []),
        f"- **Source:** [{about.source.title}]({about.source.link}), {about.source.authors}, {about.source.year}; "
        f"{about.source.location}.",
    ]
    return "\n".join([lines[0], "", lines[1], "", *lines[2:]])


def _modifiers() -> str:
    items = [f"- `@{name}`: {describe_modifier(name).replace(chr(10), ' ')}" for name in MODIFIERS]
    text = (
        "`dpo@wpo` is `dpo` with a modifier, `dpo@ld:alpha=0.3@wpo` with two, and `0.7*dpo+0.3*sft` is a weighted sum "
        "of losses, whose coefficients add up with the same weights."
    )
    return "\n".join(["## Modifiers and sums", "", text, "", *items])


def _trl() -> str:
    text = (
        "`trl_objective` takes fields of TRL 1.16's `DPOConfig` and returns the objective that its trainer minimises; "
        "value and gradient equal those of the trainer's own code in the tests."
    )
    lines = ["## TRL's loss types", "", text, "", "| `loss_type` | here |", "| --- | --- |"]
    settings = TrlSettings(label_smoothing=0.1)
    for name, make in TRL_LOSS_TYPES.items():
        lines.append(f"| `{name}` | `{objective_label(make(settings)).partition(':')[0]}` |")
    return "\n".join(lines)


def _left_out() -> str:
    return "\n".join(["## Left out", "", *(f"- `{name}`: {reason}" for name, reason in NOT_INCLUDED.items())])


if __name__ == "__main__":
    Path(__file__).with_name("objectives.md").write_text(page(), encoding="utf-8")
