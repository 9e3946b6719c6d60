"""The objectives, one paper a file, and the tables that name them."""

from collections.abc import Callable, Mapping

from preflens.objectives.adadpo import adadpo
from preflens.objectives.alphapo import alphapo
from preflens.objectives.aot import aot
from preflens.objectives.aot_unpaired import aot_unpaired
from preflens.objectives.apo_down import apo_down
from preflens.objectives.apo_zero import apo_zero
from preflens.objectives.base import Objective, Source
from preflens.objectives.bce import bce
from preflens.objectives.bco import bco
from preflens.objectives.bdpo import bdpo
from preflens.objectives.beta_dpo import beta_dpo
from preflens.objectives.bpo import bpo
from preflens.objectives.cal_dpo import cal_dpo
from preflens.objectives.cdpo import cdpo
from preflens.objectives.chipo import chipo
from preflens.objectives.cpo import cpo
from preflens.objectives.ddro import ddro
from preflens.objectives.discopop import discopop
from preflens.objectives.dpo import dpo
from preflens.objectives.dpo_hinge import dpo_hinge
from preflens.objectives.dpo_norm import dpo_norm
from preflens.objectives.dpo_shift import dpo_shift
from preflens.objectives.dpop import dpop
from preflens.objectives.exo import exo
from preflens.objectives.fpa import fpa
from preflens.objectives.ipo import ipo
from preflens.objectives.ipo_per_token import ipo_per_token
from preflens.objectives.kinds import BatchObjective, MarginObjective, PairwiseObjective, TokenObjective
from preflens.objectives.kinds.weighted_sum import WeightedSum
from preflens.objectives.kto import kto
from preflens.objectives.lsif import lsif
from preflens.objectives.modifiers import MODIFIERS, modified
from preflens.objectives.nca import nca
from preflens.objectives.not_included import NOT_INCLUDED
from preflens.objectives.odpo import odpo
from preflens.objectives.orpo import orpo
from preflens.objectives.rdpo import rdpo
from preflens.objectives.robust_dpo import robust_dpo
from preflens.objectives.rpo import rpo
from preflens.objectives.rrhf import rrhf
from preflens.objectives.sft import sft
from preflens.objectives.simpo import simpo
from preflens.objectives.slic import slic
from preflens.objectives.slime import slime
from preflens.objectives.sppo import sppo
from preflens.objectives.squaredpo import squaredpo
from preflens.objectives.trl import TRL_LOSS_TYPES, trl_objective
from preflens.objectives.ukl import ukl

ObjectiveFactory = Callable[..., Objective]

_FACTORIES: tuple[ObjectiveFactory, ...] = (
    # compared by Yuan et al., arXiv 2410.13828
    dpo,
    rdpo,
    simpo,
    ipo,
    rrhf,
    slic,
    cpo,
    dpop,
    kto,
    sppo,
    # the other losses of TRL's DPO trainer
    dpo_hinge,
    ipo_per_token,
    exo,
    nca,
    robust_dpo,
    bco,
    aot,
    aot_unpaired,
    apo_zero,
    apo_down,
    discopop,
    sft,
    dpo_norm,
    # others
    orpo,
    alphapo,
    cal_dpo,
    beta_dpo,
    bdpo,
    dpo_shift,
    odpo,
    rpo,
    cdpo,
    squaredpo,
    chipo,
    bpo,
    adadpo,
    slime,
    lsif,
    ukl,
    bce,
    ddro,
    fpa,
)

OBJECTIVES: Mapping[str, ObjectiveFactory] = {f.__name__: f for f in _FACTORIES}

__all__ = [
    "MODIFIERS",
    "NOT_INCLUDED",
    "OBJECTIVES",
    "TRL_LOSS_TYPES",
    "BatchObjective",
    "MarginObjective",
    "Objective",
    "ObjectiveFactory",
    "PairwiseObjective",
    "Source",
    "TokenObjective",
    "WeightedSum",
    "adadpo",
    "alphapo",
    "aot",
    "aot_unpaired",
    "apo_down",
    "apo_zero",
    "bce",
    "bco",
    "bdpo",
    "beta_dpo",
    "bpo",
    "cal_dpo",
    "cdpo",
    "chipo",
    "cpo",
    "ddro",
    "discopop",
    "dpo",
    "dpo_hinge",
    "dpo_norm",
    "dpo_shift",
    "dpop",
    "exo",
    "fpa",
    "ipo",
    "ipo_per_token",
    "kto",
    "lsif",
    "modified",
    "nca",
    "odpo",
    "orpo",
    "rdpo",
    "robust_dpo",
    "rpo",
    "rrhf",
    "sft",
    "simpo",
    "slic",
    "slime",
    "sppo",
    "squaredpo",
    "trl_objective",
    "ukl",
]
