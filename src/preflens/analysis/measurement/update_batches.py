"""Sample the pairs and draw the update batches."""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from preflens.language_models.reading import PairSource
from preflens.language_models.tokenizing import TokenizedPair, TokenizedPairs, tokenize_pairs


def sampling_order(count: int, *, seed: int) -> list[int]:
    """Return the positions 0 … count − 1 in a random order that the seed fixes.

    Args:
        count: number of positions.
        seed: of the order.

    Returns:
        A permutation.
    """
    order: list[int] = np.random.default_rng([seed, 0]).permutation(count).tolist()
    return order


def update_batches(count: int, *, size: int, seed: int) -> list[list[int]]:
    """Split pairs into update batches, as a shuffled epoch of training does.

    Which pairs step together is part of the result, because cross-pair terms depend on it. So seed and position fix it
    before anything is sorted or split to save memory.

    There are as few batches as the size allows, and their sizes differ by one at most. A small last batch would bias
    every mean over pairs: in a step on the mean loss of n pairs, each pair changes its own log-probs by a share of 1/n,
    so the pairs of a small batch would have too much weight.

    Args:
        count: number of pairs.
        size: pairs in an update batch, at most.
        seed: of the shuffle.

    Returns:
        Positions of the pairs of each batch, the larger batches first.

    Example:
        >>> [len(batch) for batch in update_batches(10, size=4, seed=0)]
        [4, 3, 3]
    """
    order = np.random.default_rng([seed, 1]).permutation(count)
    return [part.tolist() for part in np.array_split(order, -(-count // size))]


def longest_first(batches: Sequence[Sequence[int]], pairs: Sequence[TokenizedPair]) -> list[list[int]]:
    """Sort the pairs of each update batch by length, so that its forward passes need little padding.

    Args:
        batches: positions of each batch's pairs.
        pairs: all pairs.

    Returns:
        The same batches, the longest pair of each first.
    """
    return [sorted(batch, key=lambda i: -pairs[i].longest) for batch in batches]


def sample_pairs(
    source: PairSource, tokenizer: PreTrainedTokenizerBase, *, max_length: int, limit: int | None, seed: int
) -> tuple[TokenizedPairs, list[TokenizedPair]]:
    """Tokenize a sample of a data set, or all of it.

    Args:
        source: the pairs.
        tokenizer: of the model.
        max_length: tokens after which a sequence is cut.
        limit: usable pairs in the sample, or None for all.
        seed: of the sample.

    Returns:
        The result of tokenizing, and the usable pairs in the order of the data set.
    """
    count = len(source.pairs)
    order = range(count) if limit is None or limit >= count else sampling_order(count, seed=seed)
    tokenized = tokenize_pairs(
        (source.pairs[i] for i in order), tokenizer, max_length=max_length, limit=limit, on_bad_row=source.on_bad_row
    )
    position = {pair.id: i for i, pair in enumerate(source.pairs)}
    return tokenized, sorted(tokenized.pairs, key=lambda p: position[p.pair.id])
