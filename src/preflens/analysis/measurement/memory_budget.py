"""Sizes of forward passes that fit into the free memory."""

import os
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from preflens.analysis.measurement.forward_passes import PassLimit, PolicyScorer, make_passes
from preflens.language_models.tokenizing import TokenizedPair

# Bytes, where the system does not report free memory.
_UNKNOWN = 4e9


def memory_budget(device: torch.device) -> float:
    """Return half of the memory that is free on a device, in bytes.

    Args:
        device: device of the model.

    Returns:
        Bytes. Half of 4 GB where the system does not report free memory.
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
    """Choose the size of a forward pass.

    Args:
        scorer: the policy. It is the same afterwards.
        pairs: all pairs of the run, at least one.
        micro_batch: pairs in a pass, or `auto` for as many as fit into memory.
        memory: bytes that the activations of a pass may take.

    Returns:
        The limit.
    """
    if micro_batch != "auto":
        return PassLimit(pairs=micro_batch)
    return limit_for(scorer, max(pairs, key=lambda pair: pair.longest), memory=memory)


def limit_for(scorer: PolicyScorer, longest: TokenizedPair, *, memory: float) -> PassLimit:
    """Choose the number of tokens in a pass, from the activations that autograd keeps for one pair.

    Args:
        scorer: the policy. It is the same afterwards.
        longest: a pair with the longest row of the run.
        memory: bytes that the activations of a pass may take.

    Returns:
        The limit. A pass always holds at least one pair.
    """
    passes = make_passes(scorer, [longest], PassLimit())
    parameters = {p.untyped_storage().data_ptr() for p in scorer.model.parameters()}
    bytes_kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            bytes_kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # the tensor itself would keep its graph alive, and the graph the tensor

    (forward,) = passes.forwards_to_head()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = forward()
    del output
    per_token = sum(bytes_kept.values()) / passes.batches[0].input_ids.numel()
    return PassLimit(tokens=int(memory / max(per_token, 1.0)))
