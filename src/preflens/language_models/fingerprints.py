"""Hashes of models and pairs, to check whether two runs used the same ones."""

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from preflens.language_models.pairs import PreferencePair
from preflens.language_models.tokenizing import TokenizedPair

# Origin of a model; its log-probs do not depend on these keys.
_NO_MATTER = {"_name_or_path", "base_model_name_or_path", "transformers_version", "inference_mode"}


def model_fingerprint(model: nn.Module) -> str:
    """Return a hash of every weight and buffer in a model's state dict, with names, shapes and dtypes.

    Args:
        model: any module.

    Returns:
        32 hexadecimal digits.
    """
    return _hash_of(model.state_dict())


def adapter_fingerprint(model: nn.Module) -> str:
    """Return a hash of the weights of a model's adapters.

    Args:
        model: with or without PEFT adapters.

    Returns:
        32 hexadecimal digits.
    """
    adapters = {f".{name}" for name in getattr(model, "peft_config", {})}
    tensors = model.state_dict().items() if adapters else ()
    return _hash_of({n: t for n, t in tensors if any(f"{a}." in n or n.endswith(a) for a in adapters)})


def configuration_fingerprint(configuration: Any) -> str:  # noqa: ANN401  # transformers' or peft's
    """Return a hash of settings that log-probs depend on: soft caps or rotations of a model, the scale of an adapter.

    Args:
        configuration: of a model or an adapter; paths and versions are ignored.

    Returns:
        32 hexadecimal digits.
    """
    tree = json.dumps(_plain(configuration.to_dict()), sort_keys=True)
    return blake2b(tree.encode(), digest_size=16).hexdigest()


def tokens_fingerprint(pairs: Iterable[TokenizedPair]) -> str:
    """Return a hash of the ids and token ids of pairs, in order.

    Args:
        pairs: tokenized pairs.

    Returns:
        32 hexadecimal digits.
    """
    digest = blake2b(digest_size=16)
    for pair in pairs:
        digest.update(json.dumps([pair.pair.id, pair.prompt_ids, pair.chosen_ids, pair.rejected_ids]).encode())
    return digest.hexdigest()


def pairs_fingerprint(pairs: Iterable[PreferencePair]) -> str:
    """Return a hash of the ids and texts of pairs, in order.

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


def _hash_of(tensors: Mapping[str, Tensor]) -> str:
    digest = blake2b(digest_size=16)
    for name, tensor in tensors.items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()


def _plain(value: Any) -> Any:  # noqa: ANN401  # the nodes of a configuration
    """A tree of JSON values that is the same in every process."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if k not in _NO_MATTER}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else type(value).__name__
