"""Where the commands print."""

from rich.console import Console

OUTPUT = Console()
ERRORS = Console(stderr=True)
