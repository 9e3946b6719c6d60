"""Generated reviews with a verdict, in three forms that differ only in a suffix shared by both responses.

After the sentiment study of Yuan et al., arXiv 2410.13828, Section 4: a response is one word, or the word and a short
or a long suffix. Chosen and rejected differ in the one word.
"""

import random

SUFFIXES = {"single token": "", "short suffix": " sentiment", "long suffix": " sentiment based on my judgement"}

_PRAISE = (
    *("wonderful", "brilliant", "delightful", "superb", "charming", "moving"),
    *("gripping", "excellent", "lovely", "funny", "clever", "warm"),
)
_BLAME = (
    *("terrible", "boring", "dreadful", "awful", "clumsy", "dull"),
    *("tedious", "poor", "ugly", "silly", "careless", "cold"),
)
_THINGS = ["film", "book", "play", "song", "meal", "hotel", "game", "show", "story", "concert"]
_PARTS = ["start", "end", "plot", "staff", "music", "price", "cast", "setting", "pace", "tone"]
_SENTENCES = (
    "the {thing} was {one} and the {part} was {two} .",
    "i found the {part} of the {thing} {one} and {two} .",
    "a {one} {thing} with a {two} {part} .",
    "what a {one} {thing} , the {part} felt {two} .",
    "my friends said the {thing} is {one} but i think the {part} is {two} .",
)

ReviewRow = dict[str, str]


def reviews(count: int, *, suffix: str, draw: random.Random) -> list[ReviewRow]:
    """Generate reviews with a right and a wrong verdict.

    Args:
        count: number of reviews.
        suffix: follows the verdict in both responses.
        draw: random generator.

    Returns:
        Rows with `prompt`, `chosen` and `rejected`.
    """
    return [_review(suffix, draw) for _ in range(count)]


def all_words() -> list[str]:
    """Return sentences that contain every word of the reviews, for training a tokenizer.

    Returns:
        Texts.
    """
    words = (*_PRAISE, *_BLAME, *_THINGS, *_PARTS)
    frames = [s.format(thing="film", part="plot", one="warm", two="cold") for s in _SENTENCES]
    verdicts = [f" verdict : {v}{max(SUFFIXES.values(), key=len)} ." for v in ("positive", "negative")]
    return [f" {word}" for word in words] * 5 + frames * 5 + verdicts * 5


def _review(suffix: str, draw: random.Random) -> ReviewRow:
    good = draw.random() < 0.5
    one, two = draw.sample(_PRAISE if good else _BLAME, 2)
    sentence = draw.choice(_SENTENCES).format(thing=draw.choice(_THINGS), part=draw.choice(_PARTS), one=one, two=two)
    right, wrong = ("positive", "negative") if good else ("negative", "positive")
    return {"prompt": f"{sentence} verdict :", "chosen": f" {right}{suffix}", "rejected": f" {wrong}{suffix}"}
