"""Characters that no one sees, spelt out: texts of data may hold what reorders a line or drives a terminal."""

import re

# Scripts that need joiners to be spelt right, and emoji.
_JOINED = (
    "\u0600-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18af\u2190-\u2bff\ufb50-\ufdff\ufe0f\ufe70-\ufefc"
    "\U0001f000-\U0001faff"
)
# Controls, format characters, separators of lines, halves of surrogate pairs, and letters that are blank; not among
# them: line feed, tab, and the signs of Arabic and Syriac that stand before numbers, which are to be seen.
_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_PATTERN = re.compile(f"(?<=[{_JOINED}])([\u200c\u200d])(?=[{_JOINED}])|[{_HIDDEN}]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_DELETE = 0x7F


def visible(text: str) -> str:
    r"""Spell out what a text holds and nobody sees, so that it cannot act where the text is shown.

    C0 controls become their pictures (␛ for escape, ␍ for carriage return); other controls, bidirectional controls,
    zero-width characters and halves of surrogate pairs their code points, as in <U+202E>. Line feeds and tabs stay, and
    so do joiners within words of scripts that are written with them, and within emoji.

    Args:
        text: any text.

    Returns:
        The text; one that is visible already stays as it is.

    Example:
        >>> visible("user\u202egnp.exe\x1b[2J")
        'user<U+202E>gnp.exe␛[2J'
    """
    return _PATTERN.sub(_spelt, text)


def right_to_left(text: str) -> bool:
    """Tell whether a text has letters that are written from right to left, and so could reorder what is around it.

    Args:
        text: any text.

    Returns:
        Whether it does.
    """
    return _RIGHT_TO_LEFT.search(text) is not None


def _spelt(found: re.Match[str]) -> str:
    if found[1]:
        return found[1]
    code = ord(found[0])
    if code < _DELETE:
        return chr(0x2400 + code)
    return "␡" if code == _DELETE else f"<U+{code:04X}>"
