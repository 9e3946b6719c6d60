"""Options of `preflens train`: each has a help text and a place on the help page."""

from dataclasses import fields

from preflens.train_config.options import OPTION_PANELS, TrainOptions


def test_every_option_says_what_it_means_in_a_sentence():
    for option in fields(TrainOptions):
        assert option.metadata["help"].endswith((".", "…")), option.name


def test_panels_begin_with_the_first_option_and_name_options_in_order():
    names = [option.name for option in fields(TrainOptions)]
    places = [names.index(name) for name in OPTION_PANELS]
    assert places[0] == 0
    assert places == sorted(places)
