"""The panel that repeats a run, on both pages."""

from preflens.report.render import report_html
from tests.cases.records import analysis, comparison
from tests.support.pages import section_of, text_of


def shown(record):
    return text_of(section_of(report_html(record), "repeat"))


def test_a_run_of_the_command_line_is_repeated_by_its_command():
    assert "preflens compare --model tiny preflens 0.0 · torch 9.9" in shown(comparison())


def test_a_run_from_python_is_repeated_by_its_function_and_arguments():
    assert "Computed from Python by preflens.analyze(...) with: learning_rate=1e-06" in shown(analysis())
    assert "preflens.compare(...) with: learning_rate=0.001 horizon=1,10" in shown(comparison(command=None))
