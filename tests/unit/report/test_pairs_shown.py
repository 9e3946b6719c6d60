"""Which pairs a page shows, in which order, with which numbers and which part of their texts."""

import json
import re
from dataclasses import replace
from html import unescape

import pyarrow as pa
import pytest
import torch

from preflens.report.comparison_page import comparison_html
from preflens.report.render import report_html
from tests.cases import comparisons
from tests.cases.analyses import typical
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import PROBE_ROWS, TEXT_ROWS
from tests.support.options import flat_analyze, flat_compare


def plain(html):
    """What a reader sees of a piece of a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


def section(page, title):
    return next(s for s in re.findall(r"<section.*?</section>", page, re.S) if f"<h2>{title}</h2>" in s)


def with_gram(analysis, gram):
    """The same analysis with other squared norms and inner products: (‖g_w‖², ‖g_l‖², ⟨g_w, g_l⟩) by id."""
    pairs = analysis.pairs
    columns = {
        "id": list(gram),
        **dict(
            zip(("chosen_sq_norm", "rejected_sq_norm", "inner_product"), zip(*gram.values(), strict=True), strict=True)
        ),
    }
    for name, values in columns.items():
        place = pairs.schema.get_field_index(name)
        pairs = pairs.set_column(place, pairs.schema.field(place), pa.array(values))
    return replace(analysis, pairs=pairs)


# Over the larger norm the order would be b, c, a and d, f, e: no pair would keep its place at an end but by chance.
GRAM = {
    "a": (1.0, 4.0, 0.9),
    "b": (2.0, 2.0, 1.0),
    "c": (9.0, 1.0, 2.4),
    "d": (4.0, 5.0, -1.0),
    "e": (1.0, 1.0, 0.1),
    "f": (16.0, 1.0, -2.0),
}


def test_the_most_and_the_least_entangled_pairs_stand_under_their_titles_with_their_ratio():
    """Entanglement is the inner product over the smaller squared norm: 2.4/1, 0.9/1, 1/2 and −2/1, −1/4, 0.1/1."""
    part = section(report_html(with_gram(typical(), GRAM)), "Pairs to look at")
    columns = re.split(r"<h3>(.*?)</h3>", part)[1:]
    shown = {
        title: [
            (plain(label), plain(ratio))
            for label, ratio in re.findall(r'<div class="label">(.*?)</div>.*?smaller squared norm (\S+)', column, re.S)
        ]
        for title, column in zip(columns[::2], columns[1::2], strict=True)
    }
    assert shown == {
        "Most entangled": [("c", "+2.4"), ("a", "+0.9"), ("b", "+0.5")],
        "Least entangled": [("f", "−2"), ("d", "−0.25"), ("e", "+0.1")],
    }


def test_the_pairs_that_sink_the_most_come_first_with_what_they_do_while_the_margin_gains_a_nat():
    """Influences −3, −1 and −2 of six, at a scale of 10."""
    whole = comparisons.typical()
    first, *others = whole.metadata.objectives
    metadata = replace(whole.metadata, objectives=(replace(first, margin_scale=10.0), *others))
    influence = {"sky": 4.0, "dogs": -1.0, "say": 0.0, "same": -3.0, "bound": 5.0, "long": -2.0}
    rows = whole.rows
    place = rows.schema.get_field_index("heldout_chosen_influence")
    rows = rows.set_column(place, rows.schema.field(place), pa.array([influence[i] for i in rows["id"].to_pylist()]))
    part = section(
        comparison_html(replace(whole, metadata=metadata, rows=rows)), "Pairs that sink the held-out chosen answers"
    )
    found = re.findall(r'<div class="label">(.*?)</div>.*?mean chosen by (\S+),', part, re.S)
    assert found == [("same", "−30"), ("long", "−20"), ("dogs", "−10")]
    assert "3 of 6 training pairs pull the held-out mean chosen log-prob down" in plain(part)


LONG = "BEGINNING " + "yes " * 300 + "and this is the very END"
LONG_ROWS = [row | {"prompt": f"{LONG} {row['id']}:"} for row in TEXT_ROWS[:3]]


def long_analysis():
    model = tiny_model(dtype=torch.float32, n_positions=2048)
    return flat_analyze(model, tiny_tokenizer(), LONG_ROWS, max_length=2048)


def long_comparison():
    model = tiny_model(dtype=torch.float32, n_positions=2048)
    return flat_compare(model, tiny_tokenizer(), LONG_ROWS, held_out=PROBE_ROWS, objectives=("dpo",), max_length=2048)


@pytest.mark.parametrize(
    ("make", "show", "title"),
    [
        (long_analysis, report_html, "Pairs to look at"),
        (long_comparison, comparison_html, "Pairs that sink the held-out chosen answers"),
    ],
)
def test_of_a_long_prompt_a_card_shows_the_thousand_characters_before_the_answer(make, show, title):
    part = section(show(make()), title)
    cards = re.findall(r'<div class="label">(.*?)</div>.*?<div class="text">(.*?)</div>', part, re.S)
    assert cards
    for name, text in cards:
        prompt = f"{LONG} {plain(name)}:"
        assert plain(text) == " ".join(f"…{prompt[-1000:]}".split())
    assert "BEGINNING" not in plain(part)


def test_of_a_long_prompt_a_label_shows_the_end():
    page = report_html(long_analysis())
    drawn = page[page.index('id="plot-geometry"') :].split("</section>")[0]
    labels = [json.loads(f'"{text}"') for text in re.findall(r'"((?:[^"\\]|\\.)*chosen:(?:[^"\\]|\\.)*)"', drawn)]
    assert len(labels) == len(LONG_ROWS)
    for label, row in zip(labels, LONG_ROWS, strict=True):
        assert " ".join(row["prompt"][-80:].split()) in plain(label)
        assert "BEGINNING" not in label
