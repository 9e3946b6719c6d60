"""Provenance of data and model."""

from importlib.metadata import version

import preflens
from preflens.analysis.measurement.provenance import (
    data_provenance,
    describe_reference,
    model_provenance,
    versions,
)
from preflens.language_models.parameters import observing
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import tokenize_pairs
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS


def test_versions_are_those_that_are_installed(monkeypatch):
    assert versions()["preflens"] == preflens.__version__
    assert versions()["torch"] == version("torch")
    monkeypatch.setattr("preflens.analysis.measurement.provenance._NOTED_PACKAGES", ("no-such-package",))
    assert list(versions()) == ["preflens"]


def test_rows_are_counted():
    source = pairs_in_memory(TEXT_ROWS)
    read = tokenize_pairs(source.pairs, tiny_tokenizer(), max_length=20)
    record = data_provenance(source, read, read.pairs, max_length=20)
    assert (record.rows, record.sampled, record.pairs, record.max_length) == (6, 6, 5, 20)
    assert record.dropped == {"prompt fills the maximal length": 1}


def test_trainable_parameters_are_counted():
    model = tiny_model()
    with observing(model, "ln_f"):
        record = model_provenance(model, name=None, selection="ln_f", reference="self")
    assert record.trainable == 32
    assert record.parameters == sum(p.numel() for p in model.parameters())
    assert (record.name, record.dtype, record.architecture) == ("in memory", "float64", "GPT2LMHeadModel")
    with observing(model, "ln_f"):
        assert model_provenance(model, name="mine", selection="ln_f", reference="self").name == "mine"


def test_a_reference_is_a_word_or_a_model_with_its_fingerprint():
    model = tiny_model()
    assert describe_reference("self", model) == "self"
    one, other = (describe_reference(tiny_model(seed=seed), model) for seed in (1, 2))
    assert one.startswith("in memory (")
    assert one != other
