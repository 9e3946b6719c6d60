"""Put the panels of a comparison on one page."""

from pathlib import Path

from preflens.records.comparison import Comparison
from preflens.report.comparison import COMPARISON_PANELS
from preflens.report.render import page_html, write_page


def render_comparison(comparison: Comparison, path: str | Path) -> Path:
    """Write the page: one HTML file with everything in it, readable without a network.

    Args:
        comparison: what to show.
        path: the file to write; its folder is made.

    Returns:
        The path.
    """
    return write_page(comparison_html(comparison), path)


def comparison_html(comparison: Comparison) -> str:
    """Return the page as a string.

    Args:
        comparison: what to show.

    Returns:
        A complete HTML document; all texts from data sets and models are escaped.
    """
    sections = [s for panel in COMPARISON_PANELS.values() if (s := panel(comparison)) is not None]
    return page_html(comparison.metadata, sections)
