"""The panel of the layers."""

from preflens.records.analysis_metadata import LayerSums
from preflens.report.panels.layers import layers
from tests.cases.records import analysis
from tests.support.pages import traces_of


def test_shares_are_of_the_total_and_the_cosine_is_that_of_the_layer():
    """Inner products 1 and −3 add up to −2; within the layers they are over products of norms 2 and 6."""
    product, chosen, rejected, cosine = traces_of(layers(analysis()).values["plot"], "layers")
    assert product["x"] == [-50, 150]
    assert chosen["x"] == rejected["x"] == [25, 75]
    assert cosine["x"] == [0.5, -0.5]


def test_names_lose_what_they_share_and_tied_weights_have_the_name_of_their_first_owner():
    sums = (LayerSums("model.wte + lm_head", 1.0, 1.0, 1.0), LayerSums("model.h.0", 1.0, 1.0, 1.0))
    assert traces_of(layers(analysis(layers=sums)).values["plot"], "layers")[0]["y"] == ["wte (tied)", "h.0"]


def test_a_layer_without_a_gradient_has_no_cosine():
    sums = (LayerSums("a.x", 0.0, 1.0, 0.0), LayerSums("a.y", 1.0, 1.0, 1.0))
    assert traces_of(layers(analysis(layers=sums)).values["plot"], "layers")[3]["x"] == [None, 1.0]


def test_one_layer_alone_is_not_shown():
    assert layers(analysis(layers=(LayerSums("a", 1.0, 1.0, 1.0),))) is None
