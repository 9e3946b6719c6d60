"""The demo: three forms of the same data, tuned, and analyzed before and after."""

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from preflens.analysis.analyze import analyze
from preflens.analysis.options import RunOptions
from preflens.analysis.run_label import labeled_run
from preflens.demo.synthetic_reviews import SUFFIXES, reviews
from preflens.demo.tiny_model import make_model, make_tokenizer, tokenize, train_language_model
from preflens.demo.tuning import Tuning, tune
from preflens.language_models.reading import pairs_in_memory
from preflens.records.analysis import Analysis
from preflens.records.json_codec import to_json
from preflens.records.storage import output_folder, write_atomically
from preflens.report.render import render_report

_DPO_RATE = 0.02


@dataclass(frozen=True)
class Setup:
    """The size of the demo.

    With the defaults, the model knows the verdict before it is tuned and has partly learned the suffix, like a real
    model after a short supervised tuning. With too little pretraining it knows neither, and all forms give the same
    result.

    Attributes:
        seeds: runs of each form.
        pretraining_steps: steps on reviews with a verdict and no suffix.
        sft_steps: steps on the chosen responses of the form.
        dpo_steps: steps of plain gradient descent.
        held_out: number of held-out pairs.
    """

    seeds: int = 3
    pretraining_steps: int = 300
    sft_steps: int = 20
    dpo_steps: int = 40
    held_out: int = 48


@dataclass(frozen=True)
class DemoRun:
    """A run with one form of the data and one seed.

    Attributes:
        form: the suffix, a key of `SUFFIXES`.
        seed: the random seed.
        before: analysis of held-out pairs after supervised tuning.
        after: analysis of the same pairs after the DPO steps, against the reference.
        tuning: forecast and measured change of the steps in between.
    """

    form: str
    seed: int
    before: Analysis
    after: Analysis
    tuning: Tuning


@dataclass(frozen=True)
class DemoRow:
    """The numbers of one run.

    Attributes:
        form: the suffix, a key of `SUFFIXES`.
        seed: the random seed.
        cosine_before: mean gradient cosine before the DPO steps.
        cosine_after: mean gradient cosine after them.
        forecast: sum of the forecasts for the mean held-out log-probs, chosen and rejected, nats.
        measured: their measured change, nats.
    """

    form: str
    seed: int
    cosine_before: float | None
    cosine_after: float | None
    forecast: tuple[float, float]
    measured: tuple[float, float]


@dataclass(frozen=True)
class DemoSummary:
    """The numbers of the demo.

    Attributes:
        versions: versions of preflens and of the libraries it uses.
        runs: one row per run.
    """

    versions: dict[str, str]
    runs: tuple[DemoRow, ...]


def run_demo(setup: Setup, *, advance: Callable[[int], None] = lambda _: None) -> list[DemoRun]:
    """Train, tune and analyze every form with every seed.

    Args:
        setup: the size of the demo.
        advance: called with 1 after each run.

    Returns:
        The runs, seed by seed.
    """
    tokenizer, runs = make_tokenizer(), []
    for seed in range(setup.seeds):
        pretrained = _pretrained(tokenizer, setup, seed)
        for form in SUFFIXES:
            runs.append(_run(form, seed, model=copy.deepcopy(pretrained), tokenizer=tokenizer, setup=setup))
            advance(1)
    return runs


def save_demo(runs: list[DemoRun], folder: Path) -> list[Path]:
    """Save the numbers of all runs, the analyses of the first seed, and the reports of the longest suffix.

    Args:
        runs: the runs of the demo.
        folder: the output folder.

    Returns:
        The reports, before and after.
    """
    write_atomically(
        output_folder(folder) / "demo.json", lambda path: path.write_text(to_json(_summary(runs)), encoding="utf-8")
    )
    reports = []
    for run in (r for r in runs if r.seed == 0):
        for when, analysis in (("before", run.before), ("after", run.after)):
            place = folder / run.form.replace(" ", "-") / when
            analysis.save(place)
            if run.form == list(SUFFIXES)[-1]:
                reports.append(render_report(analysis, place / "report.html"))
    return reports


def _summary(runs: list[DemoRun]) -> DemoSummary:
    rows = tuple(
        DemoRow(
            run.form,
            run.seed,
            cosine_before=run.before.metadata.geometry.cosine.value,
            cosine_after=run.after.metadata.geometry.cosine.value,
            forecast=run.tuning.forecast,
            measured=run.tuning.measured,
        )
        for run in runs
    )
    return DemoSummary(runs[0].before.metadata.versions, rows)


def _pretrained(tokenizer: PreTrainedTokenizerFast, setup: Setup, seed: int) -> GPT2LMHeadModel:
    """A model that is trained on reviews with a verdict, without a suffix."""
    draw = random.Random(seed)
    model = make_model(tokenizer, seed=seed)
    texts = tokenize(reviews(512, suffix=" .", draw=draw), tokenizer)
    train_language_model(
        model, texts, steps=setup.pretraining_steps, learning_rate=3e-3, on_prompts_too=True, draw=draw
    )
    return model


def _run(form: str, seed: int, *, model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, setup: Setup) -> DemoRun:
    draw = random.Random(seed)
    train = tokenize(reviews(256, suffix=SUFFIXES[form], draw=draw), tokenizer)
    held_out = pairs_in_memory(reviews(setup.held_out, suffix=SUFFIXES[form], draw=draw), name="generated reviews")
    train_language_model(model, train, steps=setup.sft_steps, learning_rate=1e-3, on_prompts_too=False, draw=draw)
    reference = copy.deepcopy(model)
    held_out_tokens = tokenize(held_out.pairs, tokenizer)
    measure = partial(analyze, model, tokenizer, held_out, verify_batches=1, run=RunOptions(progress=False))
    with labeled_run(model_name=f"demo model, {form}, seed {seed}, before DPO"):
        before = measure()
    tuning = tune(model, train, held_out_tokens, steps=setup.dpo_steps, learning_rate=_DPO_RATE, draw=draw)
    with labeled_run(model_name=f"demo model, {form}, seed {seed}, after DPO"):
        after = measure(reference=reference)
    return DemoRun(form, seed, before, after, tuning)
