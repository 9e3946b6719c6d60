"""Parts of a rendered page: what a reader sees of a section, and the data of its plots."""

import base64
import json
import re
from html import unescape

import numpy as np


def text_of(html):
    """Return the text of a piece of a page, without tags, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


def section_of(page, name):
    """Return the HTML of the section of a panel."""
    return next(s for s in re.findall(r"<section.*?</section>", page, re.S) if s.startswith(f'<section id="{name}"'))


def table_of(html):
    """Return the rows of the first table of a piece of a page, as lists of texts."""
    rows = re.findall(r"<tr>(.*?)</tr>", html.split("<table", 1)[1].split("</table>")[0], re.S)
    return [[text_of(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S)] for row in rows]


def traces_of(html, name):
    """Return the traces of the plot with the id `plot-NAME`: numbers as lists, texts with their entities."""
    call = html[html.index(f'Plotly.newPlot(                        "plot-{name}"') :]
    traces, _ = json.JSONDecoder().raw_decode(call[call.index("[") :])
    return [{key: _numbers(value) for key, value in trace.items()} for trace in traces]


def _numbers(value):
    if isinstance(value, dict) and "bdata" in value:
        return np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]).tolist()
    return value
