"""`preflens objectives`: list the objectives, or describe one."""

from typing import TYPE_CHECKING, Annotated

from rich import box
from rich.markup import escape
from rich.table import Table
from typer import Argument

from preflens.cli.terminal.console import OUTPUT

if TYPE_CHECKING:
    from preflens.objectives import Objective

_LEGEND = (
    "kind: margin = a function of one margin and the chosen log-prob; pairwise = any function of a pair's log-probs; "
    "batch = a function of all pairs of the update batch; token = tokens have different weights. ? = reconstructed "
    "or not confirmed."
)


def objectives_command(
    name: Annotated[
        str | None,
        Argument(
            help="Objective to describe: `dpo`, `simpo:beta=2`, `dpo@wpo`, `dpo@ld:alpha=0.5`, `0.7*dpo+0.3*sft`."
        ),
    ] = None,
) -> None:
    """List the objectives, or show formula, coefficients, condition, domain, defaults and paper of one."""
    from preflens.objectives.parse import parse_objective

    if name is None:
        _print_all()
    else:
        _print_one(parse_objective(name))


def _print_all() -> None:
    from preflens.objectives import MODIFIERS, NOT_INCLUDED, OBJECTIVES

    table = Table(box=box.SIMPLE)
    for column in ("name", "parameters", "kind", "needs", "paper"):
        table.add_column(column, no_wrap=column in {"name", "kind"})
    for name, factory in OBJECTIVES.items():
        table.add_row(*(escape(cell) for cell in _row(name, factory())))
    OUTPUT.print(table)
    OUTPUT.print(_LEGEND, highlight=False)
    OUTPUT.print(f"Modifiers, as in `dpo@wpo`: {', '.join(MODIFIERS)}. Sums, as in `0.7*dpo+0.3*sft`.", highlight=False)
    OUTPUT.print(f"Left out: {', '.join(NOT_INCLUDED)}.", highlight=False)


def _row(name: str, objective: "Objective") -> tuple[str, ...]:
    source = objective.source
    where = f"arXiv {source.arxiv}" if source.arxiv else source.link
    needs = ", ".join(sorted(objective.inputs))
    paper = f"{source.authors} {source.year}, {where}" + (" ?" if source.unverified else "")
    return name, _values(objective), objective.kind, needs, paper


def _print_one(objective: "Objective") -> None:
    from preflens.objectives.describe import sources_of
    from preflens.objectives.first_step import at_reference, condition_of
    from preflens.objectives.parse import objective_label

    OUTPUT.print(f"[bold]{escape(objective_label(objective))}[/]")
    rows = Table.grid(padding=(0, 2))
    for label, text in (
        *_about(objective),
        ("condition", condition_of(objective)),
        ("at reference", at_reference(objective)),
        ("parameters", _values(objective) or "none"),
        ("kind", objective.kind),
        ("needs", ", ".join(sorted(objective.inputs)) or "the two log-probs only"),
        *(("source", str(source)) for source in sources_of(objective)),
    ):
        rows.add_row(f"[dim]{escape(label)}[/]", escape(text))
    OUTPUT.print(rows, highlight=False)
    for source in sources_of(objective):
        OUTPUT.print(f"\n{escape(source.bibtex)}", highlight=False, soft_wrap=True)


def _about(objective: "Objective") -> list[tuple[str, str]]:
    """Rows from the docstring of an objective, of each term of a sum, or of a modified objective and its modifier."""
    from preflens.objectives import OBJECTIVES, WeightedSum
    from preflens.objectives.describe import describe, describe_modifier
    from preflens.objectives.modifiers import ModifiedObjective

    if isinstance(objective, WeightedSum):
        return [row for w, term in objective.terms for row in (("term", f"{w:g} × {term.name}"), *_about(term))]
    if isinstance(objective, ModifiedObjective):
        return [
            *_about(objective.objective),
            (f"@{objective.modifier.name}", describe_modifier(objective.modifier.name)),
        ]
    if objective.name not in OBJECTIVES:
        return []
    about = describe(objective.name)
    rows = [
        ("", about.title), ("loss", about.formula), ("coefficients", about.coefficients), ("domain", about.domain),
        ("helps", about.helps), *about.parameters.items(), ("note", about.note),
    ]  # fmt: skip
    return [row for row in rows if row[1]]


def _values(objective: "Objective") -> str:
    return ", ".join(f"{k}={v:g}" for k, v in objective.parameters.items())
