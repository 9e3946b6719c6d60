"""Greedy answers before and after training, side by side, and what has gone wrong with them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from preflens.records.storage import output_folder, write_atomically
from preflens.records.visible_characters import visible
from preflens.training.command.samples import Sample

# Marks of a model that may have broken; a few answers vary by less than these without any training having gone wrong.
_MORE_REPETITION = 0.2
_TIMES_LONGER = 2.0
_FEWER_ENDS = 0.5
_SHOWN = 600


@dataclass(frozen=True)
class Summary:
    """What answers are like.

    Attributes:
        tokens: mean length.
        repetition: mean share of four-token sequences that were there before in the same answer.
        ended: share of answers that ended by themselves.
    """

    tokens: float
    repetition: float
    ended: float


@dataclass(frozen=True)
class BeforeAfter:
    """Answers to the same prompts.

    Attributes:
        before: of the model that training began with.
        after: of the model that it left; as many.
        max_new_tokens: where answers were cut.
    """

    before: Sequence[Sample]
    after: Sequence[Sample]
    max_new_tokens: int

    def warnings(self) -> list[str]:
        """Return what a person should look at, a sentence each; the numbers are means over few answers."""
        was, is_now = summary(self.before), summary(self.after)
        found = []
        if is_now.repetition - was.repetition > _MORE_REPETITION:
            found.append(
                f"Answers repeat themselves: {is_now.repetition:.0%} of their four-token sequences stood earlier in "
                f"the same answer, {was.repetition:.0%} before training."
            )
        longer = is_now.tokens / max(was.tokens, 1)
        if not 1 / _TIMES_LONGER < longer < _TIMES_LONGER:
            found.append(f"The length of answers changed a lot: {is_now.tokens:.3g} tokens, {was.tokens:.3g} before.")
        if was.ended - is_now.ended >= _FEWER_ENDS:
            found.append(
                f"Answers no longer end: {is_now.ended:.0%} ended within {self.max_new_tokens} tokens, {was.ended:.0%} "
                "before."
            )
        if len({sample.answer for sample in self.after}) == 1 < len({sample.answer for sample in self.before}):
            found.append("All prompts get the same answer, which they did not before.")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return everything, for a file."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "before": asdict(summary(self.before)),
            "after": asdict(summary(self.after)),
            "warnings": self.warnings(),
            "samples": [
                {"prompt": was.prompt, "before": _answer(was), "after": _answer(is_now)}
                for was, is_now in zip(self.before, self.after, strict=True)
            ],
        }

    def save(self, path: Path) -> None:
        """Write everything as JSON.

        Args:
            path: of the file.
        """
        output_folder(path.parent)
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False)
        write_atomically(path, lambda to: to.write_text(text + "\n", encoding="utf-8"))

    def show(self, console: Console) -> None:
        """Print a table of the answers.

        Args:
            console: where.
        """
        table = Table(title="Greedy answers", show_lines=True, expand=True)
        for title in ("prompt", "before", "after"):
            table.add_column(title, ratio=1, overflow="fold")
        for was, is_now in zip(self.before, self.after, strict=True):
            # Text, not markup: answers may hold anything.
            table.add_row(_end(was.prompt), _beginning(was.answer), _beginning(is_now.answer))
        table.add_row(Text("mean"), _words(summary(self.before)), _words(summary(self.after)))
        console.print(table)
        for warning in self.warnings():
            console.print(f"[bold yellow]warning:[/] {warning}", highlight=False, soft_wrap=True)


def summary(samples: Sequence[Sample]) -> Summary:
    """Summarise answers.

    Args:
        samples: at least one.

    Returns:
        Means.
    """
    return Summary(*(mean(float(getattr(s, name)) for s in samples) for name in ("tokens", "repetition", "ended")))


def _answer(sample: Sample) -> dict[str, object]:
    return {key: value for key, value in asdict(sample).items() if key != "prompt"}


def _words(of: Summary) -> Text:
    return Text(f"{of.tokens:.1f} tokens, {of.repetition:.0%} repeated, {of.ended:.0%} ended")


def _beginning(text: str) -> Text:
    return Text(visible(text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"))


def _end(text: str) -> Text:
    return Text(visible(text if len(text) <= _SHOWN else f"… {text[-_SHOWN:]}"))
