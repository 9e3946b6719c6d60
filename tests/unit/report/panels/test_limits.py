"""The panel of limits, on both pages."""

from dataclasses import replace

from preflens.report.render import report_html
from tests.cases.records import MODEL, analysis, comparison
from tests.support.pages import section_of, text_of


def shown(record):
    return text_of(section_of(report_html(record), "limits"))


def test_without_real_steps_the_page_names_the_option_of_the_command_or_of_python():
    assert "Add verify_batches=4 to take real steps" in shown(analysis(verification=()))
    assert "Add --verify 4 to take real steps" in shown(analysis(verification=(), command="preflens analyze"))
    assert "Add --verify dpo to take real steps" in shown(comparison(real_steps=()))
    assert 'Add verify_objectives=["dpo"] to take real steps' in shown(comparison(real_steps=(), command=None))


def test_with_real_steps_the_page_names_the_section_that_is_there():
    for record in (analysis(), comparison()):
        assert "The section “Forecast and measurement” shows how right they are here." in shown(record)
        assert "<h2>Forecast and measurement</h2>" in report_html(record)


def test_only_a_comparison_has_a_rollout_to_be_read_as_a_ranking():
    assert "It follows 2 of 3 training pairs and 2 of 2 held-out pairs." in shown(comparison())
    assert "rollout" not in shown(analysis())


def test_proportional_coefficients_are_explained_where_the_model_is_its_own_reference():
    other = replace(MODEL, reference="another-model")
    for make in (analysis, comparison):
        assert "proportional coefficients" in shown(make())
        assert "proportional coefficients" not in shown(make(model=other))
