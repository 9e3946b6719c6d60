"""Texts that call an entry of a table, for any table."""

import re

import pytest

from preflens.errors import InputError
from preflens.specs import call_from_spec, factory_defaults, known_parameters, near_matches, spec_of


def curve(height=2.0, shape="round"):
    return height, shape


def flat():
    return "flat"


TABLE = {"curve": curve, "flat": flat}


def call(text, **settings):
    return call_from_spec(text, TABLE, noun="thing", error=InputError, **settings)


def test_numbers_and_words_reach_the_factory_as_their_defaults_say():
    assert call("curve") == (2.0, "round")
    assert call(" curve: shape = square , height=1e1,") == (10.0, "square")
    assert call("flat:") == "flat"
    assert factory_defaults(curve) == {"height": 2.0, "shape": "round"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("curv", "Unknown thing `curv`. Did you mean `curve`? Known: curve, flat."),
        ("x", "Unknown thing `x`. Known: curve, flat."),
        ("curve:hight=1", "Thing `curve` has no parameter `hight`. Did you mean `height`? Known: height, shape."),
        ("flat:height=1", "Thing `flat` has no parameter `height`. It has none."),
        ("curve:height=tall", "Parameter `height` of thing `curve` should be a number. Found `tall`."),
        ("curve:height", "should be a number. Found no value."),
        ("curve:height=", "should be a number. Found no value."),
    ],
)
def test_what_cannot_be_read_is_said_with_what_is_near(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call(text)


def test_a_hint_stands_in_place_of_near_matches():
    with pytest.raises(InputError, match=re.escape("Unknown thing `curv`. It is round. Known")):
        call("curv", hint=lambda name: f" It is round.{name[4:]}")


def test_the_spec_names_what_is_not_the_default_and_everything_of_ones_own():
    assert spec_of("curve", {"height": 2.0, "shape": "round"}, TABLE) == "curve"
    assert spec_of("curve", {"height": 2.5, "shape": "square"}, TABLE) == "curve:height=2.5,shape=square"
    assert spec_of("mine", {"height": 2.0}, TABLE) == "mine:height=2"
    assert call(spec_of("curve", {"height": 1e-7, "shape": "round"}, TABLE)) == (1e-7, "round")


def test_near_matches_are_at_most_two_and_none_where_nothing_is_near():
    assert near_matches("DPOO", ["dpo", "dpop", "dpo_x"]) == " Did you mean `dpo` or `dpop`?"
    assert near_matches("zzz", ["dpo"]) == ""
    assert known_parameters("zzz", {"beta": 1.0}) == " Known: beta."
