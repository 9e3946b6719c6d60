"""Invalid rows: stop, or skip and count."""

import pytest

from preflens.errors import InputError
from preflens.language_models.bad_rows import bad_rows, refuse_or_note

ERROR = InputError("`x.jsonl`, line 2: `chosen` is empty.", arguments=["x"])


def test_stopping_names_the_other_choice_where_there_is_one():
    with pytest.raises(InputError, match='line 2.* Fix the row, or skip such rows with `on_bad_row="drop"`') as caught:
        refuse_or_note(ERROR, "stop", [])
    assert caught.value.arguments == ("x", "on_bad_row")
    with pytest.raises(InputError, match=r"is empty\.$"):
        refuse_or_note(ERROR, None, [])


def test_dropped_rows_are_noted_and_counted_under_the_first_of_them():
    noted = []
    refuse_or_note(ERROR, "drop", noted)
    refuse_or_note(InputError("other"), "drop", noted)
    assert bad_rows(noted) == {"bad row, the first is `x.jsonl`, line 2: `chosen` is empty": 2}
    assert bad_rows([]) == {}
