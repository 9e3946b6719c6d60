"""Spell out invisible characters: texts of data may contain characters that reorder a line or control a terminal."""

import re

# Scripts whose spelling needs joiners, and emoji.
_JOINED = (
    "\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18af\u2190-\u2bff\ufb50-\ufdff\ufe0f\ufe70-\ufefc"
    "\U0001f000-\U0001faff"
)
# Controls, format characters, line separators, unpaired surrogates, blank letters. Not included: line feed, tab, and
# the visible signs of Arabic and Syriac that precede numbers.
_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_PATTERN = re.compile(f"(?<=[{_JOINED}])([\u200c\u200d])(?=[{_JOINED}])|[{_HIDDEN}]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_DELETE = 0x7F


def visible(text: str) -> str:
    r"""Spell out the invisible characters of a text, so that they have no effect where the text is shown.

    C0 controls become their pictures (␛ for escape, ␍ for carriage return); other controls, bidirectional controls,
    zero-width characters and unpaired surrogates become their code points, as in <U+202E>. Line feeds and tabs stay,
    and so do joiners within emoji and within words of scripts that need them.

    Args:
        text: any text.

    Returns:
        The text. A text without invisible characters is unchanged.

    Example:
        >>> visible("user\u202egnp.exe\x1b[2J")
        'user<U+202E>gnp.exe␛[2J'
    """
    return _PATTERN.sub(_spelled_out, text)


def right_to_left(text: str) -> bool:
    """Return whether a text has letters that are written from right to left, which can reorder the text around it.

    Args:
        text: any text.

    Returns:
        True if it has.
    """
    return _RIGHT_TO_LEFT.search(text) is not None


def _spelled_out(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    code = ord(match[0])
    if code < _DELETE:
        return chr(0x2400 + code)
    return "␡" if code == _DELETE else f"<U+{code:04X}>"
