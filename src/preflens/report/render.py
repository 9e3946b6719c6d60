"""Render a record as one self-contained HTML page."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from preflens.records.analysis_wording import plain, share, signed, with_interval
from preflens.records.storage import output_folder, write_atomically
from preflens.records.visible_characters import right_to_left, visible
from preflens.report.panels import sections
from preflens.report.section import Record
from preflens.report.terms import term_link


def render_report(record: Record, path: str | Path) -> Path:
    """Write the page of a record: one HTML file with everything in it, readable without a network.

    The file is written completely or not at all.

    Args:
        record: an analysis or a comparison.
        path: the file to write. Its folder is created.

    Returns:
        The path.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from preflens import RunOptions, analyze
        >>> from preflens.demo.tiny_model import make_model, make_tokenizer
        >>> rows = [{"prompt": "the film was", "chosen": " good", "rejected": " bad"}]
        >>> tokenizer = make_tokenizer()
        >>> model = make_model(tokenizer, seed=0).eval()
        >>> result = analyze(model, tokenizer, rows, run=RunOptions(progress=False))
        >>> with TemporaryDirectory() as folder:
        ...     render_report(result, Path(folder, "report.html")).name
        'report.html'
    """
    target = Path(path)
    output_folder(target.parent)
    page = report_html(record)
    write_atomically(target, lambda place: place.write_text(page, encoding="utf-8"))
    return target


def report_html(record: Record) -> str:
    """Return the page of a record.

    Args:
        record: an analysis or a comparison.

    Returns:
        A complete HTML document. All texts from data sets and models are escaped.
    """
    environment = Environment(
        loader=PackageLoader("preflens.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        finalize=_visible_value,
    )  # fmt: skip
    numbers = {"signed": signed, "plain": plain, "share": share, "with_interval": with_interval}
    environment.filters.update(numbers, visible=visible, bare=_bare)
    environment.globals["term"] = term_link
    return environment.get_template("page.html").render(
        metadata=record.metadata,
        sections=sections(record),
        theme=Markup((Path(__file__).parent / "theme.css").read_text(encoding="utf-8")),  # our own file
        plotly=Markup(get_plotlyjs()),  # the library's own script
    )


def _visible_value(value: object) -> object:
    """Spell out hidden characters of a text, and isolate it where it runs from right to left."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = visible(value)
    return Markup("<bdi>{}</bdi>").format(text) if right_to_left(text) else text


def _bare(text: str) -> Markup:
    """Escape a text without an element around it: for titles, and for words of a text that is isolated as a whole."""
    return escape(visible(text))
