"""Columns of the two tables of an analysis, with unit and meaning."""

from collections.abc import Sequence

import pyarrow as pa

TEXT_LIMIT = 1000  # characters kept of each text

ID_COLUMN = ("id", pa.string(), "", "the row's `id`, or its number in the data set")

PAIR_COLUMNS = (
    ID_COLUMN,
    ("prompt_tokens", pa.int64(), "tokens", "prompt, before the response"),
    ("chosen_tokens", pa.int64(), "tokens", "scored tokens of the chosen response"),
    ("rejected_tokens", pa.int64(), "tokens", "scored tokens of the rejected response"),
    ("chosen_logp", pa.float64(), "nats", "log-prob of the chosen response, summed over its tokens"),
    ("rejected_logp", pa.float64(), "nats", "log-prob of the rejected response, summed over its tokens"),
    ("ref_chosen_logp", pa.float64(), "nats", "likewise under the reference model; null without one"),
    ("ref_rejected_logp", pa.float64(), "nats", "likewise under the reference model; null without one"),
    ("chosen_sq_norm", pa.float64(), "nats² / parameter²", "squared norm of the gradient of chosen_logp"),
    ("rejected_sq_norm", pa.float64(), "nats² / parameter²", "squared norm of the gradient of rejected_logp"),
    ("inner_product", pa.float64(), "nats² / parameter²", "inner product of the two gradients"),
    ("cosine", pa.float64(), "", "inner product over the product of norms; null where a gradient is zero"),
    ("update_batch", pa.int64(), "", "number of the update batch of the pair"),
    ("prompt", pa.string(), "", f"text, its last {TEXT_LIMIT} characters"),
    ("chosen", pa.string(), "", f"text, its first {TEXT_LIMIT} characters"),
    ("rejected", pa.string(), "", f"text, its first {TEXT_LIMIT} characters"),
)

OBJECTIVE_COLUMNS = (
    ID_COLUMN,
    ("objective", pa.string(), "", "name, and parameters that are not the default"),
    ("chosen_coefficient", pa.float64(), "", "d_w = −∂loss/∂chosen_logp"),
    ("rejected_coefficient", pa.float64(), "", "d_l = +∂loss/∂rejected_logp"),
    ("chosen_logp_change", pa.float64(), "nats", "predicted, one plain gradient step on this pair alone"),
    ("rejected_logp_change", pa.float64(), "nats", "predicted, one plain gradient step on this pair alone"),
    (
        "batch_chosen_logp_change",
        pa.float64(),
        "nats",
        "predicted, one plain step on the mean loss of the update batch",
    ),
    ("batch_rejected_logp_change", pa.float64(), "nats", "likewise for the rejected response"),
    ("outcome", pa.string(), "", "of a step on this pair alone: intended, both_rise, both_fall, reversed, unchanged"),
    ("slack_chosen", pa.float64(), "nats / learning rate", "chosen rises where positive"),
    ("slack_rejected", pa.float64(), "nats / learning rate", "rejected falls where positive"),
    (
        "band_slack",
        pa.float64(),
        "",
        "log distance of d_w/d_l to the edge of the band, positive inside; null for d ≤ 0",
    ),
)


def table_schema(columns: Sequence[tuple[str, pa.DataType, str, str]]) -> pa.Schema:
    """Build a schema whose columns carry unit and meaning.

    Args:
        columns: name, type, unit and meaning of each column.

    Returns:
        The schema.
    """
    return pa.schema([
        pa.field(name, kind, metadata={"unit": unit, "about": about}) for name, kind, unit, about in columns
    ])


PAIRS_SCHEMA = table_schema(PAIR_COLUMNS)
OBJECTIVES_SCHEMA = table_schema(OBJECTIVE_COLUMNS)
