"""Which pairs are sampled, and which share an update."""

import numpy as np


def sampling_order(count: int, *, seed: int) -> list[int]:
    """Return the positions 0 … count − 1 in a random order that the seed fixes.

    Args:
        count: how many.
        seed: of the order.

    Returns:
        A permutation.
    """
    order: list[int] = np.random.default_rng([seed, 0]).permutation(count).tolist()
    return order


def update_batches(count: int, *, size: int, seed: int) -> list[list[int]]:
    """Split pairs into the batches that would share an update, as a shuffled epoch of training does.

    Which pairs step together is part of the result (cross-pair terms depend on it), so it is fixed by seed and
    position before anything is sorted or split to save memory. The last batch holds what is left.

    Args:
        count: pairs.
        size: pairs in an update.
        seed: of the shuffle.

    Returns:
        Positions of the pairs of each batch.

    Example:
        >>> [len(batch) for batch in update_batches(10, size=4, seed=0)]
        [4, 4, 2]
    """
    order = np.random.default_rng([seed, 1]).permutation(count).tolist()
    return [order[start : start + size] for start in range(0, count, size)]
