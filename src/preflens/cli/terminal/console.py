"""Where the commands print."""

import logging

from rich.console import Console
from rich.markup import escape

from preflens.records.visible_characters import visible

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


class _Saying(logging.Handler):
    """Says on standard error, a line each, what the package notes while it works."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it.

        Args:
            record: what is noted.
        """
        colour = "yellow" if record.levelno >= logging.WARNING else "dim"
        ERRORS.print(shown(record.getMessage()), style=colour, soft_wrap=True, highlight=False)


def print_notes() -> None:
    """Let the commands say what the package notes; calling it twice changes nothing."""
    logger = logging.getLogger("preflens")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _Saying) for handler in logger.handlers):
        logger.addHandler(_Saying())


def silence_libraries() -> None:
    """Silence the progress bars and notices of transformers; errors still come through."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
