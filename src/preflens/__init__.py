"""preflens: will my chosen answers become more likely, or will both move together?

A response is a gradient; a batch is the Gram matrix G of its gradients; an objective is a coefficient vector c; a step
changes the log-probs by η G c.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from preflens.version import __version__

if TYPE_CHECKING:
    from preflens.analysis.analyze import analyze
    from preflens.analysis.compare import compare
    from preflens.analysis.options import ComparisonOptions, DataOptions, RunOptions, StepOptions
    from preflens.dynamics import band_position, classify, gradient_condition, predict_change, rollout
    from preflens.gram import (
        batch_gram,
        brute_force_batch_gram,
        brute_force_pair_gram,
        directional_derivatives,
        observe_backward,
        pair_gram,
    )
    from preflens.language_models.loading import load_model, load_tokenizer
    from preflens.language_models.reading import read_pairs
    from preflens.objectives import (
        MODIFIERS,
        OBJECTIVES,
        TRL_LOSS_TYPES,
        BatchObjective,
        MarginObjective,
        PairwiseObjective,
        TokenObjective,
        WeightedSum,
        cpo,
        dpo,
        dpop,
        ipo,
        modified,
        simpo,
        slic,
        trl_objective,
    )
    from preflens.objectives.parse import parse_objective
    from preflens.pair_logps import PairLogps, TokenCoefficients
    from preflens.records.analysis import Analysis
    from preflens.records.comparison import Comparison
    from preflens.records.outcome import Outcome
    from preflens.report.render import render_report
    from preflens.training import PreferenceTrainer, PreflensCallback
    from preflens.types import BatchGram, HeadInput, LogpChange, PairCoefficients, PairGram

# Loaded when first used: torch and transformers take seconds, and the report needs neither.
_HOMES = {
    # the main job
    "analyze": "preflens.analysis.analyze",
    "Analysis": "preflens.records.analysis",
    "render_report": "preflens.report.render",
    # which objective
    "compare": "preflens.analysis.compare",
    "Comparison": "preflens.records.comparison",
    # options of both
    "DataOptions": "preflens.analysis.options",
    "StepOptions": "preflens.analysis.options",
    "ComparisonOptions": "preflens.analysis.options",
    "RunOptions": "preflens.analysis.options",
    # training with TRL
    "PreferenceTrainer": "preflens.training",
    "PreflensCallback": "preflens.training",
    # what it reads
    "read_pairs": "preflens.language_models.reading",
    "load_model": "preflens.language_models.loading",
    "load_tokenizer": "preflens.language_models.loading",
    # objectives
    "OBJECTIVES": "preflens.objectives",
    "MODIFIERS": "preflens.objectives",
    "TRL_LOSS_TYPES": "preflens.objectives",
    "trl_objective": "preflens.objectives",
    "modified": "preflens.objectives",
    "MarginObjective": "preflens.objectives",
    "PairwiseObjective": "preflens.objectives",
    "BatchObjective": "preflens.objectives",
    "TokenObjective": "preflens.objectives",
    "WeightedSum": "preflens.objectives",
    "parse_objective": "preflens.objectives.parse",
    "cpo": "preflens.objectives",
    "dpo": "preflens.objectives",
    "dpop": "preflens.objectives",
    "ipo": "preflens.objectives",
    "simpo": "preflens.objectives",
    "slic": "preflens.objectives",
    # gradient geometry
    "pair_gram": "preflens.gram",
    "batch_gram": "preflens.gram",
    "brute_force_pair_gram": "preflens.gram",
    "brute_force_batch_gram": "preflens.gram",
    "directional_derivatives": "preflens.gram",
    "observe_backward": "preflens.gram",
    # what follows from it
    "predict_change": "preflens.dynamics",
    "gradient_condition": "preflens.dynamics",
    "band_position": "preflens.dynamics",
    "classify": "preflens.dynamics",
    "rollout": "preflens.dynamics",
    # the quantities
    "BatchGram": "preflens.types",
    "HeadInput": "preflens.types",
    "LogpChange": "preflens.types",
    "Outcome": "preflens.records.outcome",
    "PairCoefficients": "preflens.types",
    "PairGram": "preflens.types",
    "PairLogps": "preflens.pair_logps",
    "TokenCoefficients": "preflens.pair_logps",
}

__all__ = [
    "MODIFIERS",
    "OBJECTIVES",
    "TRL_LOSS_TYPES",
    "Analysis",
    "BatchGram",
    "BatchObjective",
    "Comparison",
    "ComparisonOptions",
    "DataOptions",
    "HeadInput",
    "LogpChange",
    "MarginObjective",
    "Outcome",
    "PairCoefficients",
    "PairGram",
    "PairLogps",
    "PairwiseObjective",
    "PreferenceTrainer",
    "PreflensCallback",
    "RunOptions",
    "StepOptions",
    "TokenCoefficients",
    "TokenObjective",
    "WeightedSum",
    "__version__",
    "analyze",
    "band_position",
    "batch_gram",
    "brute_force_batch_gram",
    "brute_force_pair_gram",
    "classify",
    "compare",
    "cpo",
    "directional_derivatives",
    "dpo",
    "dpop",
    "gradient_condition",
    "ipo",
    "load_model",
    "load_tokenizer",
    "modified",
    "observe_backward",
    "pair_gram",
    "parse_objective",
    "predict_change",
    "read_pairs",
    "render_report",
    "rollout",
    "simpo",
    "slic",
    "trl_objective",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'preflens' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
