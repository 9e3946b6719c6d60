"""Which tokens the two responses of a pair share, and which of them tell the responses apart."""

from collections.abc import Sequence
from difflib import SequenceMatcher


def contrast_tokens(chosen: Sequence[int], rejected: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """Align two responses and mark the tokens that have no partner in the other one.

    Insertions and deletions shift what follows, and the shifted tokens still meet. Matching blocks are those of
    Ratcliff and Obershelp: the longest common run first, then the same on both sides of it.

    Args:
        chosen: token ids of the chosen response.
        rejected: token ids of the rejected response.

    Returns:
        For each token of the chosen and of the rejected response, whether it stands alone.

    Example:
        >>> contrast_tokens([5, 7, 8, 9], [6, 6, 7, 8, 9])
        ([True, False, False, False], [True, True, False, False, False])
    """
    alone = [True] * len(chosen), [True] * len(rejected)
    matcher = SequenceMatcher(None, list(chosen), list(rejected), autojunk=False)
    for block in matcher.get_matching_blocks():
        for side, start in zip(alone, (block.a, block.b), strict=True):
            side[start : start + block.size] = [False] * block.size
    return alone
