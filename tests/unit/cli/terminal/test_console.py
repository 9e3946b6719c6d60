"""What is printed is visible and no markup."""

import logging

from preflens.cli.terminal.console import print_log_messages, shown


def test_texts_are_escaped():
    assert shown("[red]x[/] \u202e") == r"\[red]x\[/] <U+202E>"
    assert shown(3) == "3"


def test_log_messages_are_printed_once_on_standard_error(capsys):
    logger = logging.getLogger("preflens")
    before, level = list(logger.handlers), logger.level
    try:
        print_log_messages()
        print_log_messages()
        assert len(logger.handlers) <= len(before) + 1
    finally:
        logger.handlers, _ = before, logger.setLevel(level)
