"""The panel of own-pair outcomes."""

from preflens.report.panels.outcomes import outcomes
from tests.cases.records import analysis
from tests.support.pages import traces_of


def test_bars_are_shares_in_percent_by_outcome():
    values = outcomes(analysis()).values
    bars = {bar["name"]: bar["x"] for bar in traces_of(values["plot"], "outcomes")}
    assert bars["chosen rises, rejected falls"] == [50.0]
    assert bars["both rise"] == [25.0]
    assert bars["both fall"] == [12.5]
    assert values["rows"] == [{"label": "dpo", "shares": ["50 %", "25 %", "12 %", "12 %", "0 %"]}]
