"""Consoles of the commands, and messages of the package on standard error."""

import logging

from rich.console import Console
from rich.markup import escape

from preflens.records.visible_characters import visible

# Without emoji, because a text of data may contain `:x:`.
OUTPUT = Console(emoji=False)
ERRORS = Console(stderr=True, emoji=False)


def shown(text: object) -> str:
    """Escape a text of data, of a model or of a path for printing.

    Args:
        text: any object, converted with `str`.

    Returns:
        Text without hidden characters, in which rich finds no markup.
    """
    return escape(visible(str(text)))


class _StderrHandler(logging.Handler):
    """Prints log messages of the package on standard error, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a log message.

        Args:
            record: the message.
        """
        colour = "yellow" if record.levelno >= logging.WARNING else "dim"
        ERRORS.print(shown(record.getMessage()), style=colour, soft_wrap=True, highlight=False)


def print_log_messages() -> None:
    """Print the package's log messages on standard error. A second call changes nothing."""
    logger = logging.getLogger("preflens")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        logger.addHandler(_StderrHandler())


def silence_libraries() -> None:
    """Silence progress bars and notices of transformers. Errors are still shown."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
