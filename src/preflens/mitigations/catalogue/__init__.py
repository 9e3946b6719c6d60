"""The mitigations: one paper per file, and one line here per file. The order is that of tables and pages."""

# isort: off
from preflens.mitigations.catalogue.normalized import normalized as normalized
from preflens.mitigations.catalogue.band import band as band
from preflens.mitigations.catalogue.reward_calibration import reward_calibration as reward_calibration
from preflens.mitigations.catalogue.cone import cone as cone
from preflens.mitigations.catalogue.controlled import controlled as controlled
from preflens.mitigations.catalogue.sparse_mask import sparse_mask as sparse_mask
from preflens.mitigations.catalogue.splitting import splitting as splitting
