"""The panel of the most and the least entangled pairs."""

from dataclasses import replace

from preflens.report.panels.pairs import pairs
from tests.cases.records import analysis, pair_rows, table

# Over the larger norm the order would be b, c, a and d, f, e: no pair would keep its place at an end but by chance.
GRAM = {
    "a": (1.0, 4.0, 0.9),
    "b": (2.0, 2.0, 1.0),
    "c": (9.0, 1.0, 2.4),
    "d": (4.0, 5.0, -1.0),
    "e": (1.0, 1.0, 0.1),
    "f": (16.0, 1.0, -2.0),
}


def with_gram(gram):
    """The hand-written analysis with pairs of these squared norms and inner products (‖g_w‖², ‖g_l‖², ⟨g_w, g_l⟩)."""
    first = pair_rows()[0]
    rows = [
        first | {"id": name, "chosen_sq_norm": w, "rejected_sq_norm": r, "inner_product": product}
        for name, (w, r, product) in gram.items()
    ]
    record = analysis()
    return replace(record, pairs=table(record.pairs.schema, rows))


def ratios(section):
    return {
        title: [(card["row"]["id"], round(card["entanglement"], 9)) for card in cards]
        for title, cards in section.values["groups"].items()
    }


def test_the_pairs_are_ordered_by_inner_product_over_the_smaller_squared_norm():
    """The ratios are 2.4/1, 0.9/1, 1/2 and −2/1, −1/4, 0.1/1."""
    assert ratios(pairs(with_gram(GRAM))) == {
        "Most entangled": [("c", 2.4), ("a", 0.9), ("b", 0.5)],
        "Least entangled": [("f", -2.0), ("d", -0.25), ("e", 0.1)],
    }


def test_at_most_five_pairs_are_shown_at_each_end():
    gram = {str(i): (1.0, 1.0, i / 20) for i in range(14)}
    assert ratios(pairs(with_gram(gram))) == {
        "Most entangled": [(str(i), i / 20) for i in (13, 12, 11, 10, 9)],
        "Least entangled": [(str(i), i / 20) for i in range(5)],
    }


def test_a_single_pair_is_at_both_ends_and_a_pair_without_a_gradient_is_not_shown():
    assert ratios(pairs(with_gram({"a": GRAM["a"]}))) == {
        "Most entangled": [("a", 0.9)],
        "Least entangled": [("a", 0.9)],
    }
    section = pairs(with_gram({"a": GRAM["a"], "zero": (0.0, 1.0, 0.0)}))
    assert ratios(section) == {"Most entangled": [("a", 0.9)], "Least entangled": [("a", 0.9)]}


def test_words_that_both_responses_have_in_the_same_order_are_marked_as_shared():
    record = analysis()
    texts = {"chosen": "a red cat sat", "rejected": "a blue cat sat down"}
    section = pairs(replace(record, pairs=table(record.pairs.schema, [pair_rows()[0] | texts])))
    (card,) = section.values["groups"]["Most entangled"]
    runs = {side: [(word.text, word.shared) for word in card[side]] for side in texts}
    assert runs == {
        "chosen": [("a ", True), ("red ", False), ("cat sat ", True)],
        "rejected": [("a ", True), ("blue ", False), ("cat sat ", True), ("down ", False)],
    }
