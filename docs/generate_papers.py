"""Write docs/papers.md from the citations of objectives and modifiers: `python docs/generate_papers.py`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from preflens.objectives import MODIFIERS, OBJECTIVES, TRL_LOSS_TYPES, Citation
from preflens.objectives.trl import TrlSettings
from preflens.specs import factory_defaults, spec_of

INTRODUCTION = """# Papers, objectives, configurations

*Written by `docs/generate_papers.py` from the citation in each objective's file.*

Each paper, the objective here, and configurations to start from, with where the values come from. The last column
says where the paper, its authors' code, TRL 1.16 and this package differ. "Not confirmed" means that the equation
was written down without re-reading it; `preflens objectives NAME` says so too. Values without a source in the third
column are defaults of this package."""

# A fact about one paper: nothing is ever added to this table.
COMPARED = ("dpo", "rdpo", "simpo", "ipo", "rrhf", "slic", "cpo", "dpop", "kto", "sppo")

SUM = (
    "| MPO, [2411.10442](https://arxiv.org/abs/2411.10442) | a sum | `0.8*dpo:beta=0.1+0.2*bco+1*sft` (TRL's "
    'documentation) | TRL: `loss_type=["sigmoid", "bco_pair", "sft"]` |'
)


def page() -> str:
    """Return the whole page."""
    objectives = {name: factory().source for name, factory in OBJECTIVES.items()}
    of_trl = {make(TrlSettings(label_smoothing=0.1)).name for make in TRL_LOSS_TYPES.values()} - set(COMPARED)
    others = [name for name in objectives if name not in COMPARED and name not in of_trl]
    modifiers = {f"@{name}": factory().source for name, factory in MODIFIERS.items()}
    return (
        "\n\n".join([
            INTRODUCTION,
            _section("Compared by Yuan et al., arXiv 2410.13828, Table 2", {n: objectives[n] for n in COMPARED}),
            _section("The other losses of TRL's DPO trainer", {n: objectives[n] for n in objectives if n in of_trl}),
            _section("Modifiers and sums", modifiers, more=[SUM]),
            _section("Others", {n: objectives[n] for n in others}),
        ])
        + "\n"
    )


def _section(title: str, citations: Mapping[str, Citation], more: Iterable[str] = ()) -> str:
    names = defaultdict(list)
    for name, citation in citations.items():
        names[citation].append(name)
    head = [f"## {title}", "", "| paper | objective | configuration | who differs |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *(_row(citation, entries) for citation, entries in names.items()), *more])


def _row(citation: Citation, names: list[str]) -> str:
    link = f"[{citation.arxiv or citation.url.removeprefix('https://')}]({citation.link})"
    paper = f"{citation.method or names[0]}, {link}, {citation.location}"
    remarks = [citation.differences, _not_confirmed(citation.unverified)]
    cells = [paper, ", ".join(f"`{n}`" for n in names), citation.configurations or _defaults(names[0])]
    return f"| {' | '.join(cells)} | {'; '.join(filter(None, remarks)) or '–'} |"


def _not_confirmed(unverified: str) -> str:
    return f"not confirmed: {unverified[0].lower()}{unverified[1:]}" if unverified else ""


def _defaults(name: str) -> str:
    """The parameters of an entry whose citation gives no configuration."""
    if name.startswith("@") or not factory_defaults(OBJECTIVES[name]):
        return f"`{name}`"
    return f"`{spec_of(name, factory_defaults(OBJECTIVES[name]), {})}`"


if __name__ == "__main__":
    Path(__file__).with_name("papers.md").write_text(page(), encoding="utf-8")
