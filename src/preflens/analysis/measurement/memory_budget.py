"""How much goes into a forward pass, so that memory lasts."""

import os
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from preflens.analysis.measurement.forward_passes import PassLimit, PolicyScorer, make_passes
from preflens.language_models.tokenizing import TokenizedPair

# Where the system does not tell what is free.
_UNKNOWN = 4e9


def memory_budget(device: torch.device) -> float:
    """Return half of the memory that is free on a device, in bytes.

    Args:
        device: of the model.

    Returns:
        Bytes; 4 GB where the system does not tell.
    """
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (torch.cuda.mem_get_info(device)[0] + cached) / 2
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    except (ValueError, OSError, AttributeError):
        return _UNKNOWN / 2


def pass_limit(
    scorer: PolicyScorer, pairs: Sequence[TokenizedPair], micro_batch: int | Literal["auto"], *, memory: float
) -> PassLimit:
    """Settle how much goes into a forward pass.

    Args:
        scorer: the policy; left as it was found.
        pairs: all there will be, at least one.
        micro_batch: pairs in a pass, or `auto` for what memory allows.
        memory: bytes that the activations of a pass may take.

    Returns:
        The limit.
    """
    if micro_batch != "auto":
        return PassLimit(pairs=micro_batch)
    return limit_for(scorer, max(pairs, key=lambda pair: pair.longest), memory=memory)


def limit_for(scorer: PolicyScorer, longest: TokenizedPair, *, memory: float) -> PassLimit:
    """Find how many tokens a pass may hold, from what one pair makes autograd keep.

    Args:
        scorer: the policy; left as it was found.
        longest: a pair with the longest row there will be.
        memory: bytes that the activations of a pass may take.

    Returns:
        The limit; never less than one pair.
    """
    passes = make_passes(scorer, [longest], PassLimit())
    parameters = {p.untyped_storage().data_ptr() for p in scorer.model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would hold its graph, and the graph it

    (forward,) = passes.forwards_to_head()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outcome = forward()
    del outcome
    per_token = sum(kept.values()) / passes.batches[0].input_ids.numel()
    return PassLimit(tokens=int(memory / max(per_token, 1.0)))
