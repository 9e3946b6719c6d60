"""Generated reviews."""

import random

from preflens.demo.synthetic_reviews import SUFFIXES, all_words, reviews


def test_responses_differ_in_the_verdict_only_and_share_the_suffix():
    rows = reviews(50, suffix=SUFFIXES["long suffix"], draw=random.Random(0))
    for row in rows:
        words = {row["chosen"].split()[0], row["rejected"].split()[0]}
        assert words == {"positive", "negative"}
        assert row["chosen"].split()[1:] == row["rejected"].split()[1:] == SUFFIXES["long suffix"].split()
    assert len({row["prompt"] for row in rows}) > 40
    assert rows == reviews(50, suffix=SUFFIXES["long suffix"], draw=random.Random(0))


def test_every_word_of_a_review_is_among_the_words():
    known = set(" ".join(all_words()).split())
    rows = reviews(200, suffix=SUFFIXES["long suffix"], draw=random.Random(1))
    assert {word for row in rows for text in row.values() for word in text.split()} <= known


def test_the_chosen_answer_says_what_the_review_says():
    for row in reviews(40, suffix="", draw=random.Random(0)):
        praise = any(word in row["prompt"].split() for word in ("wonderful", "brilliant", "superb", "lovely", "clever"))
        blame = any(word in row["prompt"].split() for word in ("terrible", "boring", "awful", "ugly", "silly"))
        assert not (praise and row["chosen"] == " negative")
        assert not (blame and row["chosen"] == " positive")
