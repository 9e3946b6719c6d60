"""`preflens objectives`: the table of objectives, and one of them in full."""

from inspect import cleandoc
from typing import Annotated

from rich import box
from rich.markup import escape
from rich.table import Table
from typer import Argument

from preflens.cli.console import OUTPUT


def objectives(
    name: Annotated[str | None, Argument(help="Show this one in full, for example `dpo` or `simpo:beta=2`.")] = None,
) -> None:
    """List the objectives, or show the formula, parameters and source of one."""
    from preflens.objectives import OBJECTIVES
    from preflens.objectives.parse import objective_label, parse_objective

    if name is None:
        OUTPUT.print(_table(list(OBJECTIVES)))
        return
    objective = parse_objective(name)
    OUTPUT.print(f"[bold]{escape(objective_label(objective))}[/]")
    OUTPUT.print(escape(_flowing(cleandoc(OBJECTIVES[objective.name].__doc__ or ""))), highlight=False)
    OUTPUT.print()
    OUTPUT.print(f"reference model  {'needed' if objective.needs_reference else 'not used'}", highlight=False)
    OUTPUT.print(f"response length  {'used' if objective.uses_length else 'not used'}", highlight=False)
    values = ", ".join(f"{k}={v:g}" for k, v in objective.parameters.items())
    OUTPUT.print(f"parameters       {values}", highlight=False)
    OUTPUT.print(f"source           {escape(str(objective.source))}", highlight=False)


def _flowing(text: str) -> str:
    """Join the lines of paragraphs, so that the terminal breaks them; what is indented stays as it is."""
    paragraphs = (p if "\n " in p else p.replace("\n", " ") for p in text.split("\n\n"))
    return "\n\n".join(paragraphs)


def _table(names: list[str]) -> Table:
    from preflens.objectives.parse import parse_objective

    table = Table(box=box.SIMPLE)
    for column in ("name", "parameters", "reference", "length", "paper"):
        table.add_column(column)
    for name in names:
        objective = parse_objective(name)
        table.add_row(
            name,
            ", ".join(f"{k}={v:g}" for k, v in objective.parameters.items()),
            "yes" if objective.needs_reference else "",
            "yes" if objective.uses_length else "",
            escape(f"{objective.source.authors} {objective.source.year}, arXiv {objective.source.arxiv}"),
        )
    return table
