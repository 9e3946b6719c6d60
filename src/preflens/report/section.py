"""What a panel hands to the page."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes:
        title: heading.
        template: file in `templates/` that lays it out.
        values: what the template shows; everything but plots is escaped.
    """

    title: str
    template: str
    values: Mapping[str, object] = field(default_factory=dict)
