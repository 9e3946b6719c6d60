"""Citations, and what counts as an objective."""

from dataclasses import fields

from preflens.objectives import OBJECTIVES
from preflens.objectives.kinds.base import INPUTS, Citation, Objective
from preflens.pair_logps import PairLogps

PAPER = Citation("β-DPO: A title", "O'Neil et al.", 2024, "2401.00001", "Eq. 1")
NOTE = Citation("A note", "Mitchell", 2023, "", "Eq. 3", url="https://example.org/note.pdf")


def test_a_citation_links_to_arxiv_or_to_its_address():
    assert PAPER.link == "https://arxiv.org/abs/2401.00001"
    assert NOTE.link == "https://example.org/note.pdf"
    assert str(NOTE) == "Mitchell, 'A note', 2023, https://example.org/note.pdf, Eq. 3"


def test_bibtex_names_the_first_author_and_keeps_the_title_as_it_is():
    assert PAPER.bibtex == (
        "@misc{oneil2024β-dpo,\n  title = {{β-DPO: A title}},\n  author = {O'Neil and others},\n  year = {2024},\n"
        "  eprint = {2401.00001},\n  archivePrefix = {arXiv},\n}"
    )
    assert "url = {https://example.org/note.pdf}" in NOTE.bibtex


def test_inputs_are_fields_of_the_log_probs_and_no_field_is_of_two_inputs_but_tokens():
    names = {f.name for f in fields(PairLogps)}
    assert {field for group in INPUTS.values() for field in group} == names - {"chosen", "rejected"}


def test_every_entry_of_the_table_is_an_objective_and_a_citation_is_none():
    assert all(isinstance(factory(), Objective) for factory in OBJECTIVES.values())
    assert not isinstance(PAPER, Objective)
