"""The objectives, one paper a file, and the tables that name them."""

from collections.abc import Callable, Mapping

from preflens.objectives.catalogue.adadpo import adadpo
from preflens.objectives.catalogue.alphapo import alphapo
from preflens.objectives.catalogue.aot import aot
from preflens.objectives.catalogue.aot_unpaired import aot_unpaired
from preflens.objectives.catalogue.apo_down import apo_down
from preflens.objectives.catalogue.apo_zero import apo_zero
from preflens.objectives.catalogue.bce import bce
from preflens.objectives.catalogue.bco import bco
from preflens.objectives.catalogue.bdpo import bdpo
from preflens.objectives.catalogue.beta_dpo import beta_dpo
from preflens.objectives.catalogue.bpo import bpo
from preflens.objectives.catalogue.cal_dpo import cal_dpo
from preflens.objectives.catalogue.cdpo import cdpo
from preflens.objectives.catalogue.chipo import chipo
from preflens.objectives.catalogue.cpo import cpo
from preflens.objectives.catalogue.ddro import ddro
from preflens.objectives.catalogue.discopop import discopop
from preflens.objectives.catalogue.dpo import dpo
from preflens.objectives.catalogue.dpo_hinge import dpo_hinge
from preflens.objectives.catalogue.dpo_norm import dpo_norm
from preflens.objectives.catalogue.dpo_shift import dpo_shift
from preflens.objectives.catalogue.dpop import dpop
from preflens.objectives.catalogue.exo import exo
from preflens.objectives.catalogue.fpa import fpa
from preflens.objectives.catalogue.ipo import ipo
from preflens.objectives.catalogue.ipo_per_token import ipo_per_token
from preflens.objectives.catalogue.kto import kto
from preflens.objectives.catalogue.lsif import lsif
from preflens.objectives.catalogue.nca import nca
from preflens.objectives.catalogue.odpo import odpo
from preflens.objectives.catalogue.orpo import orpo
from preflens.objectives.catalogue.rdpo import rdpo
from preflens.objectives.catalogue.robust_dpo import robust_dpo
from preflens.objectives.catalogue.rpo import rpo
from preflens.objectives.catalogue.rrhf import rrhf
from preflens.objectives.catalogue.sft import sft
from preflens.objectives.catalogue.simpo import simpo
from preflens.objectives.catalogue.slic import slic
from preflens.objectives.catalogue.slime import slime
from preflens.objectives.catalogue.sppo import sppo
from preflens.objectives.catalogue.squaredpo import squaredpo
from preflens.objectives.catalogue.ukl import ukl
from preflens.objectives.kinds import BatchObjective, MarginObjective, PairwiseObjective, TokenObjective
from preflens.objectives.kinds.base import Citation, Objective
from preflens.objectives.kinds.weighted_sum import WeightedSum
from preflens.objectives.modifiers import MODIFIERS, modified
from preflens.objectives.not_included import NOT_INCLUDED
from preflens.objectives.trl import TRL_LOSS_TYPES, trl_objective

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
    "Citation",
    "MarginObjective",
    "Objective",
    "ObjectiveFactory",
    "PairwiseObjective",
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
