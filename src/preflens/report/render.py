"""Put the panels of an analysis on one page."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from preflens.records.analysis import Analysis
from preflens.records.analysis_metadata import AnalysisMetadata
from preflens.records.analysis_wording import plain, share, signed, with_interval
from preflens.records.comparison_metadata import ComparisonMetadata
from preflens.records.storage import output_folder, write_atomically
from preflens.records.visible_characters import right_to_left, visible
from preflens.report.analysis import PANELS
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
    return page_html(analysis.metadata, [s for panel in PANELS.values() if (s := panel(analysis)) is not None])


def _shown(value: object) -> object:
    """What stands in the page for a value: nothing hidden in it, and no letter of it reorders what is around it."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = visible(value)
    return Markup("<bdi>{}</bdi>").format(text) if right_to_left(text) else text


def _bare(text: str) -> Markup:
    """A text without an element around it, for titles and for words of a text that is isolated as a whole."""
    return escape(visible(text))


def page_html(metadata: AnalysisMetadata | ComparisonMetadata, sections: Sequence[Section]) -> str:
    """Lay sections out on a page.

    Args:
        metadata: about the run; data, model, date and versions are shown.
        sections: in order; the title of the first is that of the page.

    Returns:
        A complete HTML document; all texts are escaped.
    """
    environment = Environment(
        loader=PackageLoader("preflens.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        finalize=_shown,
    )  # fmt: skip
    numbers = {"signed": signed, "plain": plain, "share": share, "with_interval": with_interval}
    environment.filters.update(numbers, visible=visible, bare=_bare)
    return environment.get_template("page.html").render(
        metadata=metadata,
        sections=sections,
        theme=Markup((Path(__file__).parent / "theme.css").read_text(encoding="utf-8")),  # our own file
        plotly=Markup(get_plotlyjs()),  # the library's own script
    )
