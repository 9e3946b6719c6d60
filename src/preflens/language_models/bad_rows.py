"""Invalid rows: stop, or skip and count them."""

from collections.abc import Sequence
from typing import Literal

from preflens.errors import InputError

OnBadRow = Literal["stop", "drop"]


def refuse_or_note(error: InputError, on_bad_row: OnBadRow | None, noted: list[str]) -> None:
    """Stop at an invalid row, or record it and continue.

    Args:
        error: the fault, with file and line.
        on_bad_row: `stop` or `drop`; None stops without a hint at the choice.
        noted: list to which the message of a dropped row is appended.

    Raises:
        InputError: unless `on_bad_row` is `drop`.
    """
    if on_bad_row is None:
        raise error
    if on_bad_row == "stop":
        raise InputError(
            f'{error} Fix the row, or skip such rows with `on_bad_row="drop"`.',
            arguments=[*error.arguments, "on_bad_row"],
        ) from None
    noted.append(str(error))


def bad_rows(noted: Sequence[str]) -> dict[str, int]:
    """Return the count of dropped rows, with a description.

    Args:
        noted: their messages.

    Returns:
        One entry that names the first of them; empty without dropped rows.
    """
    return {f"bad row, the first is {noted[0].rstrip('.')}": len(noted)} if noted else {}
