"""Columns of the three tables of a comparison, with unit and meaning."""

import pyarrow as pa

from preflens.records.analysis_schema import ID_COLUMN, OBJECTIVE_COLUMNS, PAIR_COLUMNS, table_schema

_REPEATED = {
    "objective", "chosen_coefficient", "rejected_coefficient", "chosen_logp_change", "rejected_logp_change",
    "batch_chosen_logp_change", "batch_rejected_logp_change", "outcome",
}  # fmt: skip
_PER_PRODUCT = "nats² / parameter²"

COMPARE_SCHEMA = table_schema((
    ID_COLUMN,
    *(column for column in OBJECTIVE_COLUMNS if column[0] in _REPEATED),
    (
        "heldout_chosen_influence",
        pa.float64(),
        "nats",
        "contribution of this pair to the change of the held-out mean chosen log-prob in one plain step on the mean "
        "loss of all training pairs; the contributions add up to the change",
    ),
    ("heldout_rejected_influence", pa.float64(), "nats", "likewise for the held-out mean rejected log-prob"),
    ("heldout_margin_influence", pa.float64(), "nats", "likewise for the margin, chosen minus rejected"),
))

TRAINING_SCHEMA = table_schema((
    *PAIR_COLUMNS,
    *(
        (
            f"{side}_to_heldout_{what}",
            pa.float64(),
            _PER_PRODUCT,
            f"inner product of the gradient of {side}_logp with the gradient of the held-out mean {what} log-prob"
            if what != "margin"
            else f"inner product of the gradient of {side}_logp with the gradient of the margin, chosen minus rejected",
        )
        for side in ("chosen", "rejected")
        for what in ("chosen", "rejected", "margin")
    ),
))

HELD_OUT_SCHEMA = table_schema((
    ID_COLUMN,
    ("objective", pa.string(), "", "name, and parameters that are not the default"),
    ("chosen_logp_change", pa.float64(), "nats", "predicted, one plain step on the mean loss of all training pairs"),
    ("rejected_logp_change", pa.float64(), "nats", "likewise for the rejected response"),
    (
        "margin_change",
        pa.float64(),
        "nats",
        "chosen minus rejected change; its mean over the pairs is the change of the margin",
    ),
))
