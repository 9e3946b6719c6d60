"""Laws of the package: every file is in its table; every public name is there, documented, loaded when used."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import preflens
from preflens import OBJECTIVES
from preflens.mitigations import MITIGATIONS
from preflens.report.panels import COMPARISON_PANELS, PANELS

SOURCE = Path(preflens.__file__).parent


def modules_in(folder):
    return {p.stem for p in (SOURCE / folder).glob("*.py")} - {"__init__"}


def test_every_objective_file_is_in_the_table():
    assert modules_in("objectives/catalogue") == set(OBJECTIVES)


def test_every_mitigation_file_is_in_the_table():
    assert modules_in("mitigations/catalogue") == set(MITIGATIONS)


def test_every_mitigation_has_a_unit_test_of_its_promise():
    tested = {path.stem for path in (Path(__file__).parents[1] / "unit/mitigations/catalogue").glob("test_*.py")}
    assert tested == {f"test_{name}" for name in MITIGATIONS}


def test_every_panel_file_is_in_the_table():
    assert modules_in("report/panels") == {*PANELS, *COMPARISON_PANELS}
    templates = {path.stem for path in (SOURCE / "report" / "templates").glob("*.html")}
    assert templates == {*PANELS, *COMPARISON_PANELS, "page"}


def test_every_command_file_is_a_command():
    from preflens.cli.main import app

    assert modules_in("cli/commands") == {c.name for c in app.registered_commands}


@pytest.mark.parametrize("name", preflens.__all__)
def test_every_public_name_is_there_and_documented(name):
    found = getattr(preflens, name)
    if callable(found):
        assert inspect.getdoc(found)


def test_public_names_are_listed_once_and_completely():
    assert preflens.__all__ == sorted(set(preflens.__all__), key=preflens.__all__.index)
    assert set(preflens.__all__) == {*preflens._HOMES, "__version__"}
    assert dir(preflens) == sorted(preflens.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        preflens.nonsense  # noqa: B018


def imported_after(code):
    watched = "{'torch', 'transformers', 'datasets', 'peft', 'trl', 'plotly'}"
    line = f"import sys; {code}; print(*sorted({watched} & set(sys.modules)))"
    return set(subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_and_its_command_line_loads_nothing_heavy():
    assert imported_after("import preflens, preflens.cli.main") == set()


def test_the_report_loads_plotly_and_no_model_library():
    assert imported_after("import preflens.report.render, preflens.records.comparison") == {"plotly"}


def test_no_file_of_the_package_is_past_the_limits():
    for path in SOURCE.rglob("*.py"):
        assert path.read_text(encoding="utf-8").count("\n") <= 400, path
