"""Hashes that tell whether two runs looked at the same model and the same pairs."""

import json
from collections.abc import Iterable
from hashlib import blake2b

import torch
from torch import nn

from preflens.language_models.pairs import PreferencePair


def model_fingerprint(model: nn.Module) -> str:
    """Hash every weight and buffer a model would save, with names, shapes and types.

    Args:
        model: anything with a state dict.

    Returns:
        32 hexadecimal digits.
    """
    digest = blake2b(digest_size=16)
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(raw.numpy()))
    return digest.hexdigest()


def pairs_fingerprint(pairs: Iterable[PreferencePair]) -> str:
    """Hash the ids and texts of pairs, in order.

    Args:
        pairs: the pairs.

    Returns:
        32 hexadecimal digits.
    """
    digest = blake2b(digest_size=16)
    for pair in pairs:
        row = [pair.id, pair.prompt, pair.chosen, pair.rejected, dict(pair.template_arguments)]
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()
