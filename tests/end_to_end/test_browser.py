"""The report in a real browser: it draws, it complains of nothing, and it runs no text as a script."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from preflens.report.render import report_html
from tests.cases.analyses import ANALYSES
from tests.cases.comparisons import COMPARISONS
from tests.cases.records import DATA, analysis

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the report with"),
]

# Appended to the page: writes what happened into its title once everything is drawn.
PROBE = """<script>
window.alert = () => { window.alerted = true; };
window.addEventListener('load', () => setTimeout(() => {
  const plots = [...document.querySelectorAll('.plotly-graph-div')];
  document.title = 'SEEN' + JSON.stringify({
    plots: plots.length,
    drawn: plots.filter(p => p.querySelector('svg.main-svg')).length,
    alerted: !!window.alerted,
    errors: window.errors,
    requests: performance.getEntriesByType('resource').map(r => r.name),
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  }) + 'END';
}, 500));
</script>"""
CATCH = "<script>window.errors = []; window.addEventListener('error', e => window.errors.push(e.message));</script>"


PAGES = {name: (lambda make=make: report_html(make()), 4) for name, make in ANALYSES.items()} | {
    f"comparison, {name}": (lambda make=make: report_html(make()), 1) for name, make in COMPARISONS.items()
}
LONG_PATH = replace(DATA, source="/data/" + 60 * "long_name" + ".jsonl")
PAGES["a long path"] = (lambda: report_html(analysis(data=LONG_PATH)), 4)


NARROW = ("typical", "hostile", "comparison, typical", "comparison, hostile", "a long path")


@pytest.mark.parametrize(("width", "name"), [*((1200, name) for name in PAGES), *((420, name) for name in NARROW)])
def test_the_report_opens_and_draws_every_plot(width, name, tmp_path):
    make, least = PAGES[name]
    html = make()
    page = tmp_path / "report.html"
    page.write_text(html.replace("<body>", "<body>" + CATCH).replace("</body>", PROBE + "</body>"), encoding="utf-8")
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},2000", "--virtual-time-budget=10000", "--dump-dom",
    ]  # fmt: skip
    done = subprocess.run([CHROMIUM, *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    title = re.search(r"<title>SEEN(.*?)END</title>", done.stdout, re.S)
    assert title, done.stderr[-2000:]
    page_state = json.loads(title[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert page_state["drawn"] == page_state["plots"] >= least
    assert page_state["errors"] == []
    assert page_state["requests"] == []
    assert not page_state["alerted"]
    assert not page_state["wide"]
