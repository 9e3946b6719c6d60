"""The three tables of a comparison."""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float64
from torch import Tensor

from preflens.analysis.comparison.first_step import FirstSteps
from preflens.language_models.tokenizing import TokenizedPair
from preflens.records.comparison_schema import COMPARE_SCHEMA, HELD_OUT_SCHEMA, TRAINING_SCHEMA
from preflens.records.outcome import Outcome
from preflens.types import LogpChange


def compare_table(
    steps: FirstSteps,
    alone: Mapping[str, LogpChange],
    outcomes: Mapping[str, tuple[Outcome, ...]],
    *,
    pairs: Sequence[TokenizedPair],
    batches: Sequence[Sequence[int]],
    learning_rate: float,
) -> pa.Table:
    """Build the table of first steps, with one row per training pair and objective.

    Args:
        steps: of every objective, update batch after update batch.
        alone: change of every pair in a step on this pair alone, by label.
        outcomes: outcome of every pair in that step, by label.
        pairs: all training pairs.
        batches: positions of each update batch's pairs.
        learning_rate: η.

    Returns:
        A table of `COMPARE_SCHEMA`, objective by objective, pairs in order.
    """
    order = torch.from_numpy(np.argsort(list(chain.from_iterable(batches))))
    changes = torch.stack([torch.stack([change.chosen, change.rejected]) for change in alone.values()])
    influence = learning_rate * steps.influence
    margin = influence[:, :1] - influence[:, 1:]
    parts = [steps.coefficients, changes, learning_rate * steps.shared, influence, margin]
    numbers = [pa.array(column.reshape(-1).numpy()) for part in parts for column in part[:, :, order].unbind(1)]
    outcome_values = [outcomes[label][i].value for label in alone for i in order.tolist()]
    ids = [p.pair.id for p in pairs] * len(alone)
    labels = np.repeat(list(alone), len(pairs))
    columns = [pa.array(ids), pa.array(labels), *numbers[:6], pa.array(outcome_values), *numbers[6:]]
    return pa.table(columns, schema=COMPARE_SCHEMA)


def training_table(
    pairs: pa.Table, products: Float64[Tensor, "two side pair"], batches: Sequence[Sequence[int]]
) -> pa.Table:
    """Add the inner products with the gradients of the held-out means to the table of training pairs.

    Args:
        pairs: table of `PAIRS_SCHEMA`.
        products: ⟨g_i, V⟩ with V the gradients of the held-out mean chosen and mean rejected log-prob, update batch
            after update batch.
        batches: positions of each update batch's pairs.

    Returns:
        A table of `TRAINING_SCHEMA`.
    """
    order = torch.from_numpy(np.argsort(list(chain.from_iterable(batches))))
    chosen, rejected = products[:, :, order]
    more = torch.stack([chosen, rejected, chosen - rejected], dim=1).flatten(0, 1)  # [side · mean, pair]
    columns = [*pairs.columns, *(pa.array(values.numpy()) for values in more)]
    return pa.table(columns, schema=TRAINING_SCHEMA)


def held_out_table(
    labels: Sequence[str],
    held_out: Sequence[TokenizedPair],
    changes: Float64[Tensor, "objective two held_out"] | None,
    *,
    learning_rate: float,
) -> pa.Table:
    """Build the table of predicted changes of held-out pairs, with one row per pair and objective.

    Args:
        labels: of the objectives.
        held_out: the pairs.
        changes: at learning rate 1, nats, or None if they were not computed.
        learning_rate: η.

    Returns:
        A table of `HELD_OUT_SCHEMA`; empty without changes.
    """
    if changes is None:
        return HELD_OUT_SCHEMA.empty_table()
    ids, tables = [p.pair.id for p in held_out], []
    for label, (chosen, rejected) in zip(labels, learning_rate * changes, strict=True):
        values = [v.numpy() for v in (chosen, rejected, chosen - rejected)]
        tables.append(pa.table([ids, [label] * len(ids), *values], schema=HELD_OUT_SCHEMA))
    return pa.concat_tables(tables)
