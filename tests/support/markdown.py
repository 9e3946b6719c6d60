"""Parts of a Markdown page: its headings, links, code spans, and the sentences of its prose."""

import re


def without_code(text):
    """Return the page without fenced blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


def links(text):
    """Return the targets of links and images that are no URLs."""
    return re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", without_code(text))


def code_spans(text):
    """Return the texts of inline code."""
    return re.findall(r"`([^`\n]+)`", without_code(text))


def anchors(text):
    """Return the anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.M)
    plain = [re.sub(r"[`*]|\]\(.*?\)|\[", "", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def sentences(text):
    """Return the sentences of paragraphs, list items and quotes; not of tables, code and headings."""
    lines = [line for line in without_code(text).splitlines() if not re.match(r"\s*(\||#|!\[)", line)]
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*>]|\d+\.) )", "\n".join(lines))
    plain = [re.sub(r"\]\(.*?\)|`[^`]*`|\*|^\s*[->]\s", lambda m: "code" if m[0][0] == "`" else "", b) for b in blocks]
    return [
        s
        for block in plain
        for s in re.split(r"(?<=[.?!:;”)])\s+(?=[\[(A-Z“d⟨‖])|(?<=[.?!])\s+", " ".join(block.split()))
    ]
