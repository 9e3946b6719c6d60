"""The objectives: one paper per file, and one line here per file. The order is that of tables and pages."""

# isort: off
# compared by Yuan et al., arXiv 2410.13828
from preflens.objectives.catalogue.dpo import dpo as dpo
from preflens.objectives.catalogue.rdpo import rdpo as rdpo
from preflens.objectives.catalogue.simpo import simpo as simpo
from preflens.objectives.catalogue.ipo import ipo as ipo
from preflens.objectives.catalogue.rrhf import rrhf as rrhf
from preflens.objectives.catalogue.slic import slic as slic
from preflens.objectives.catalogue.cpo import cpo as cpo
from preflens.objectives.catalogue.dpop import dpop as dpop
from preflens.objectives.catalogue.kto import kto as kto
from preflens.objectives.catalogue.sppo import sppo as sppo

# the other losses of TRL's DPO trainer
from preflens.objectives.catalogue.dpo_hinge import dpo_hinge as dpo_hinge
from preflens.objectives.catalogue.ipo_per_token import ipo_per_token as ipo_per_token
from preflens.objectives.catalogue.exo import exo as exo
from preflens.objectives.catalogue.nca import nca as nca
from preflens.objectives.catalogue.robust_dpo import robust_dpo as robust_dpo
from preflens.objectives.catalogue.bco import bco as bco
from preflens.objectives.catalogue.aot import aot as aot
from preflens.objectives.catalogue.aot_unpaired import aot_unpaired as aot_unpaired
from preflens.objectives.catalogue.apo_zero import apo_zero as apo_zero
from preflens.objectives.catalogue.apo_down import apo_down as apo_down
from preflens.objectives.catalogue.discopop import discopop as discopop
from preflens.objectives.catalogue.sft import sft as sft
from preflens.objectives.catalogue.dpo_norm import dpo_norm as dpo_norm

# others
from preflens.objectives.catalogue.orpo import orpo as orpo
from preflens.objectives.catalogue.alphapo import alphapo as alphapo
from preflens.objectives.catalogue.cal_dpo import cal_dpo as cal_dpo
from preflens.objectives.catalogue.beta_dpo import beta_dpo as beta_dpo
from preflens.objectives.catalogue.bdpo import bdpo as bdpo
from preflens.objectives.catalogue.dpo_shift import dpo_shift as dpo_shift
from preflens.objectives.catalogue.odpo import odpo as odpo
from preflens.objectives.catalogue.rpo import rpo as rpo
from preflens.objectives.catalogue.cdpo import cdpo as cdpo
from preflens.objectives.catalogue.squaredpo import squaredpo as squaredpo
from preflens.objectives.catalogue.chipo import chipo as chipo
from preflens.objectives.catalogue.bpo import bpo as bpo
from preflens.objectives.catalogue.adadpo import adadpo as adadpo
from preflens.objectives.catalogue.slime import slime as slime
from preflens.objectives.catalogue.lsif import lsif as lsif
from preflens.objectives.catalogue.ukl import ukl as ukl
from preflens.objectives.catalogue.bce import bce as bce
from preflens.objectives.catalogue.ddro import ddro as ddro
from preflens.objectives.catalogue.fpa import fpa as fpa
