"""A section of the page: what a panel returns and the renderer lays out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from preflens.records.analysis import Analysis
from preflens.records.comparison import Comparison

Record = Analysis | Comparison


@dataclass(frozen=True)
class Section:
    """One part of the page, laid out by the template that has the panel's name.

    Attributes:
        title: heading.
        values: what the template shows. Everything but plots is escaped.
    """

    title: str
    values: Mapping[str, object] = field(default_factory=dict)
