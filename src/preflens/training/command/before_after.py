"""Greedy answers before and after training, with warnings about broken models."""

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

# Changes that suggest a broken model. Few answers vary by less than this in trainings that went well.
_MORE_REPETITION = 0.2
_TIMES_LONGER = 2.0
_FEWER_ENDS = 0.5
_MAX_SHOWN = 600


@dataclass(frozen=True)
class AnswerSummary:
    """Means over answers.

    Attributes:
        tokens: mean length.
        repetition: mean share of four-token sequences that occur earlier in the same answer.
        ended: share of answers that the model ended.
    """

    tokens: float
    repetition: float
    ended: float


@dataclass(frozen=True)
class BeforeAfter:
    """Answers to the same prompts.

    Attributes:
        before: of the model before training.
        after: of the model after training; as many.
        max_new_tokens: limit of the length of an answer.
    """

    before: Sequence[Sample]
    after: Sequence[Sample]
    max_new_tokens: int

    def warnings(self) -> list[str]:
        """Return signs of a broken model, a sentence each; the numbers are means over few answers."""
        was, is_now = summarize_answers(self.before), summarize_answers(self.after)
        warnings = []
        if is_now.repetition - was.repetition > _MORE_REPETITION:
            warnings.append(
                f"Answers repeat themselves: {is_now.repetition:.0%} of their four-token sequences occur earlier in "
                f"the same answer, {was.repetition:.0%} before training."
            )
        longer = is_now.tokens / max(was.tokens, 1)
        if not 1 / _TIMES_LONGER < longer < _TIMES_LONGER:
            warnings.append(
                f"The length of answers changed a lot: {is_now.tokens:.3g} tokens, {was.tokens:.3g} before."
            )
        if was.ended - is_now.ended >= _FEWER_ENDS:
            warnings.append(
                f"Answers no longer end: {is_now.ended:.0%} ended within {self.max_new_tokens} tokens, {was.ended:.0%} "
                "before."
            )
        if len({sample.answer for sample in self.after}) == 1 < len({sample.answer for sample in self.before}):
            warnings.append("All prompts get the same answer, which they did not before.")
        return warnings

    def as_json(self) -> dict[str, Any]:
        """Return summaries, warnings and answers for a JSON file."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "before": asdict(summarize_answers(self.before)),
            "after": asdict(summarize_answers(self.after)),
            "warnings": self.warnings(),
            "samples": [
                {"prompt": was.prompt, "before": _answer(was), "after": _answer(is_now)}
                for was, is_now in zip(self.before, self.after, strict=True)
            ],
        }

    def save(self, path: Path) -> None:
        """Write `as_json` to a file.

        Args:
            path: of the file.
        """
        output_folder(path.parent)
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False)
        write_atomically(path, lambda to: to.write_text(text + "\n", encoding="utf-8"))

    def show(self, console: Console) -> None:
        """Print a table of the answers, and the warnings.

        Args:
            console: to print on.
        """
        table = Table(title="Greedy answers", show_lines=True, expand=True)
        for title in ("prompt", "before", "after"):
            table.add_column(title, ratio=1, overflow="fold")
        for was, is_now in zip(self.before, self.after, strict=True):
            # Text, not markup: answers may contain anything.
            table.add_row(_end(was.prompt), _beginning(was.answer), _beginning(is_now.answer))
        table.add_row(
            Text("mean"), _summary_text(summarize_answers(self.before)), _summary_text(summarize_answers(self.after))
        )
        console.print(table)
        for warning in self.warnings():
            console.print(f"[bold yellow]warning:[/] {warning}", highlight=False, soft_wrap=True)


def summarize_answers(samples: Sequence[Sample]) -> AnswerSummary:
    """Compute the means over answers.

    Args:
        samples: at least one.

    Returns:
        Means.
    """
    return AnswerSummary(
        *(mean(float(getattr(s, name)) for s in samples) for name in ("tokens", "repetition", "ended"))
    )


def _answer(sample: Sample) -> dict[str, object]:
    return {key: value for key, value in asdict(sample).items() if key != "prompt"}


def _summary_text(summary: AnswerSummary) -> Text:
    return Text(f"{summary.tokens:.1f} tokens, {summary.repetition:.0%} repeated, {summary.ended:.0%} ended")


def _beginning(text: str) -> Text:
    return Text(visible(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]} …"))


def _end(text: str) -> Text:
    return Text(visible(text if len(text) <= _MAX_SHOWN else f"… {text[-_MAX_SHOWN:]}"))
