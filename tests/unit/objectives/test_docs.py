"""The pages on objectives say what the catalogue says."""

import re
from pathlib import Path
from runpy import run_path

from preflens import OBJECTIVES
from preflens.objectives.parse import parse_objective

DOCS = Path(__file__).parents[3] / "docs"


def test_the_catalogue_page_is_up_to_date():
    page = run_path(str(DOCS / "generate_objectives.py"))["page"]()
    written = (DOCS / "objectives.md").read_text(encoding="utf-8")
    assert written == page, "Run `python docs/generate_objectives.py`."


def test_the_page_of_papers_is_up_to_date():
    page = run_path(str(DOCS / "generate_papers.py"))["page"]()
    written = (DOCS / "papers.md").read_text(encoding="utf-8")
    assert written == page, "Run `python docs/generate_papers.py`."


def test_every_objective_has_its_paper_on_the_page_of_papers():
    text = (DOCS / "papers.md").read_text(encoding="utf-8")
    for name, factory in OBJECTIVES.items():
        assert f"`{name}" in text, name
        assert (factory().source.arxiv or factory().source.url) in text, name


def test_every_configuration_on_the_page_of_papers_can_be_read():
    text = (DOCS / "papers.md").read_text(encoding="utf-8")
    configurations = re.findall(r"`([a-z_0-9.*+@]+:[a-z_0-9=.,]+)`", text)
    assert len(configurations) > 20
    for configuration in configurations:
        parse_objective(configuration)
