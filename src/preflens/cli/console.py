"""Where the commands print."""

from rich.console import Console
from rich.markup import escape

from preflens.records.visible import visible

# Without emoji: a text of data may hold `:x:`.
OUTPUT = Console(emoji=False)
ERRORS = Console(stderr=True, emoji=False)


def shown(text: object) -> str:
    """Prepare a text of data, of a model or of a path for printing.

    Args:
        text: anything; its text is taken.

    Returns:
        Text without hidden characters, in which rich finds no markup.
    """
    return escape(visible(str(text)))
