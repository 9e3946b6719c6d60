"""Of a long prompt the page shows the part before the answer."""

import json
import re

import pytest
import torch

from preflens.report.render import report_html
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS
from tests.support.options import flat_analyze, flat_compare
from tests.support.pages import section_of, text_of

LONG = "BEGINNING " + "yes " * 300 + "and this is the very END"
LONG_ROWS = [row | {"prompt": f"{LONG} {row['id']}:"} for row in TEXT_ROWS[:3]]


def long_analysis():
    model = tiny_model(dtype=torch.float32, n_positions=2048)
    return flat_analyze(model, tiny_tokenizer(), LONG_ROWS, max_length=2048)


def long_comparison():
    model = tiny_model(dtype=torch.float32, n_positions=2048)
    return flat_compare(model, tiny_tokenizer(), LONG_ROWS, held_out=PROBE_ROWS, objectives=("dpo",), max_length=2048)


@pytest.mark.parametrize(("make", "name"), [(long_analysis, "pairs"), (long_comparison, "harmful_pairs")])
def test_of_a_long_prompt_a_card_shows_the_thousand_characters_before_the_answer(make, name):
    part = section_of(report_html(make()), name)
    cards = re.findall(r'<div class="label">(.*?)</div>.*?<div class="text">(.*?)</div>', part, re.S)
    assert cards
    for label, text in cards:
        prompt = f"{LONG} {text_of(label)}:"
        assert text_of(text) == " ".join(f"…{prompt[-1000:]}".split())
    assert "BEGINNING" not in text_of(part)


def test_of_a_long_prompt_a_label_shows_the_end():
    page = report_html(long_analysis())
    drawn = page[page.index('id="plot-geometry"') :].split("</section>")[0]
    labels = [json.loads(f'"{text}"') for text in re.findall(r'"((?:[^"\\]|\\.)*chosen:(?:[^"\\]|\\.)*)"', drawn)]
    assert len(labels) == len(LONG_ROWS)
    for label, row in zip(labels, LONG_ROWS, strict=True):
        assert " ".join(row["prompt"][-80:].split()) in text_of(label)
        assert "BEGINNING" not in label
