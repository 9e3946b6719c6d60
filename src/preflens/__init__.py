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
    from preflens.dynamics import classify, predict_change, rollout
    from preflens.errors import PreflensError
    from preflens.gram import batch_gram, pair_gram
    from preflens.language_models.loading import load_model, load_tokenizer
    from preflens.language_models.pairs import PreferencePair
    from preflens.language_models.reading import read_pairs
    from preflens.mitigations import MITIGATIONS, parse_mitigation
    from preflens.objectives import OBJECTIVES, MarginObjective, parse_objective, trl_objective
    from preflens.pair_logps import PairLogps
    from preflens.records.analysis import Analysis
    from preflens.records.comparison import Comparison
    from preflens.report.render import render_report
    from preflens.training import Alerts, PreferenceTrainer, PreflensCallback

# Loaded when first used: torch and transformers take seconds, and the report needs neither. Everything else that is
# public is in `preflens.objectives`, `preflens.mitigations`, `preflens.gram` and `preflens.dynamics`.
_HOMES = {
    # the main job
    "analyze": "preflens.analysis.analyze",
    "compare": "preflens.analysis.compare",
    "Analysis": "preflens.records.analysis",
    "Comparison": "preflens.records.comparison",
    "render_report": "preflens.report.render",
    "DataOptions": "preflens.analysis.options",
    "StepOptions": "preflens.analysis.options",
    "ComparisonOptions": "preflens.analysis.options",
    "RunOptions": "preflens.analysis.options",
    # what it reads
    "PreferencePair": "preflens.language_models.pairs",
    "read_pairs": "preflens.language_models.reading",
    "load_model": "preflens.language_models.loading",
    "load_tokenizer": "preflens.language_models.loading",
    # training with TRL
    "PreferenceTrainer": "preflens.training",
    "PreflensCallback": "preflens.training",
    "Alerts": "preflens.training",
    # objectives and mitigations
    "OBJECTIVES": "preflens.objectives",
    "MarginObjective": "preflens.objectives",
    "parse_objective": "preflens.objectives",
    "trl_objective": "preflens.objectives",
    "MITIGATIONS": "preflens.mitigations",
    "parse_mitigation": "preflens.mitigations",
    # gradient geometry, and what follows from it
    "pair_gram": "preflens.gram",
    "batch_gram": "preflens.gram",
    "PairLogps": "preflens.pair_logps",
    "predict_change": "preflens.dynamics",
    "classify": "preflens.dynamics",
    "rollout": "preflens.dynamics",
    # errors
    "PreflensError": "preflens.errors",
}

__all__ = [
    "MITIGATIONS",
    "OBJECTIVES",
    "Alerts",
    "Analysis",
    "Comparison",
    "ComparisonOptions",
    "DataOptions",
    "MarginObjective",
    "PairLogps",
    "PreferencePair",
    "PreferenceTrainer",
    "PreflensCallback",
    "PreflensError",
    "RunOptions",
    "StepOptions",
    "__version__",
    "analyze",
    "batch_gram",
    "classify",
    "compare",
    "load_model",
    "load_tokenizer",
    "pair_gram",
    "parse_mitigation",
    "parse_objective",
    "predict_change",
    "read_pairs",
    "render_report",
    "rollout",
    "trl_objective",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'preflens' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
