"""Put the panels of an analysis on one page."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from preflens.records.analysis import Analysis
from preflens.records.comparison_facts import ComparisonFacts
from preflens.records.facts import Facts
from preflens.records.storage import output_folder, write_atomically
from preflens.records.wording import plain, share, signed, with_interval
from preflens.report.panels import PANELS
from preflens.report.section import Section


def render_report(analysis: Analysis, path: str | Path) -> Path:
    """Write the report: one HTML file with everything in it, readable without a network.

    Args:
        analysis: what to show.
        path: the file to write; its folder is made.

    Returns:
        The path.
    """
    return write_page(report_html(analysis), path)


def write_page(page: str, path: str | Path) -> Path:
    """Write a page whole or not at all.

    Args:
        page: an HTML document.
        path: the file to write; its folder is made.

    Returns:
        The path.
    """
    target = Path(path)
    output_folder(target.parent)
    write_atomically(target, lambda place: place.write_text(page, encoding="utf-8"))
    return target


def report_html(analysis: Analysis) -> str:
    """Return the report as a string.

    Args:
        analysis: what to show.

    Returns:
        A complete HTML document; all texts from data sets and models are escaped.
    """
    return page_html(analysis.facts, [s for panel in PANELS.values() if (s := panel(analysis)) is not None])


def page_html(facts: Facts | ComparisonFacts, sections: Sequence[Section]) -> str:
    """Lay sections out on a page.

    Args:
        facts: about the run; data, model, date and versions are shown.
        sections: in order; the title of the first is that of the page.

    Returns:
        A complete HTML document; all texts are escaped.
    """
    environment = Environment(
        loader=PackageLoader("preflens.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(signed=signed, plain=plain, share=share, with_interval=with_interval)
    return environment.get_template("page.html").render(
        facts=facts,
        sections=sections,
        theme=Markup((Path(__file__).parent / "theme.css").read_text(encoding="utf-8")),  # our own file
        plotly=Markup(get_plotlyjs()),  # the library's own script
    )
