"""Hidden characters are spelt out, and nothing else is changed."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflens.records.visible_characters import right_to_left, visible

# Arabic, Syriac and Kaithi signs before numbers: format characters by name, but drawn.
DRAWN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}


def test_every_control_format_and_separator_of_unicode_is_spelt_out():
    hidden = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Zl", "Zp", "Cs"} and code not in DRAWN | {0x09, 0x0A}
    ]
    assert len(hidden) > 2000
    assert [c for c in hidden if visible(c) == c] == []
    assert [c for c in hidden if set(visible(c)) & set(hidden)] == []


def test_letters_digits_punctuation_and_what_is_drawn_stay():
    kept = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c))[0] in "LNPSZ" or c in DRAWN | {0x09, 0x0A}]
    blank = {"\u115f", "\u1160", "\u2028", "\u2029", "\u3164", "\uffa0"}
    assert {c for c in kept if visible(c) != c} == blank


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user\u202egnp.exe", "user<U+202E>gnp.exe"),
        ("\u2066a\u2069", "<U+2066>a<U+2069>"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x9b2J\x07", "<U+009B>2J␇"),
        ("a\x00b\x7f\r\n\tc", "a␀b␡␍\n\tc"),
        ("pass\u200bword\ufeff\xad", "pass<U+200B>word<U+FEFF><U+00AD>"),
        ("half \ud83d", "half <U+D83D>"),
        ("tag \U000e0041", "tag <U+E0041>"),
        ("a\u200db", "a<U+200D>b"),
        ("می\u200cروم और क्\u200dष", "می\u200cروم और क्\u200dष"),
        ("👩\u200d👧 ❤️\u200d🔥", "👩\u200d👧 ❤️\u200d🔥"),
        ("\u200dend", "<U+200D>end"),
    ],
)
def test_each_kind_has_its_spelling(text, shown):
    assert visible(text) == shown


@given(st.text())
def test_what_is_visible_stays_as_it_is(text):
    assert visible(visible(text)) == visible(text)


def test_letters_from_right_to_left_are_known():
    letters = [c for c in map(chr, range(0x110000)) if unicodedata.bidirectional(c) in {"R", "AL"} and c.isalpha()]
    assert len(letters) > 1000
    assert all(map(right_to_left, letters))
    assert not right_to_left("Latin, Ελληνικά, 漢字, 12")
