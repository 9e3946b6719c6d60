"""What becomes of a row that cannot be used."""

from collections.abc import Sequence
from typing import Literal

from preflens.errors import InputError

OnBadRow = Literal["stop", "drop"]


def refuse_or_note(error: InputError, on_bad_row: OnBadRow | None, noted: list[str]) -> None:
    """Stop at a bad row, or note it and go on.

    Args:
        error: what is wrong with it, and where it stands.
        on_bad_row: `stop` or `drop`; None for stopping where there is no such choice.
        noted: gets the message of a row that is dropped.

    Raises:
        InputError: the rows are not to be dropped.
    """
    if on_bad_row is None:
        raise error
    if on_bad_row == "stop":
        raise InputError(
            f'{error} Mend the row, or leave such rows out with `on_bad_row="drop"`.',
            arguments=[*error.arguments, "on_bad_row"],
        ) from None
    noted.append(str(error))


def bad_rows(noted: Sequence[str]) -> dict[str, int]:
    """Count the rows that were dropped, for people to read.

    Args:
        noted: their messages.

    Returns:
        One entry that names the first of them, or none.
    """
    return {f"bad row, the first is {noted[0].rstrip('.')}": len(noted)} if noted else {}
