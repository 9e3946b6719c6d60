"""Inner products of per-response gradients of any `nn.Module`; no language model and no preference data is needed.

`pair_gram` and `batch_gram` are the entry points. `observe_backward` reads the same numbers off a training step.
`LAYER_RULES` and the classes below it are for layer rules of your own (see `pair_gram`).
"""

from preflens.gram.brute_force import brute_force_batch_gram, brute_force_pair_gram
from preflens.gram.capture.calls import ModuleCall
from preflens.gram.engine import batch_gram, pair_gram
from preflens.gram.factors.factors import EmbeddingRows, Materialized, OnDemand, OuterProductSum
from preflens.gram.readers.directional import directional_derivatives
from preflens.gram.rules import LAYER_RULES, LayerGradients, LayerRule, RuleContext
from preflens.gram.training_step.observer import BackwardObserver, observe_backward
from preflens.types import BatchGram, HeadInput, PairGram

__all__ = [
    "LAYER_RULES",
    "BackwardObserver",
    "BatchGram",
    "EmbeddingRows",
    "HeadInput",
    "LayerGradients",
    "LayerRule",
    "Materialized",
    "ModuleCall",
    "OnDemand",
    "OuterProductSum",
    "PairGram",
    "RuleContext",
    "batch_gram",
    "brute_force_batch_gram",
    "brute_force_pair_gram",
    "directional_derivatives",
    "observe_backward",
    "pair_gram",
]
