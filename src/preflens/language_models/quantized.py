"""Quantized layers that pack their weights for inference: prevent it, and refuse models that have packed weights.

In evaluation mode, on a CPU with AVX512-BF16, the 4-bit layers of bitsandbytes pack their weights at the first call
whose input needs no gradient. From then on they return no gradient and compute in bfloat16, and the weights can only be
restored by loading them again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from preflens.errors import UnsupportedModelError

# The attribute that bitsandbytes' `Linear4bit` checks before it packs.
_SWITCH = "support_avx512bf16_for_cpu"


@contextmanager
def kept_from_packing(model: nn.Module) -> Iterator[None]:
    """Prevent layers from packing their weights inside this context.

    Args:
        model: any model; its layers are restored at exit.

    Yields:
        Nothing.
    """
    switches = never_packing(model)
    try:
        yield
    finally:
        for layer, switch in switches.items():
            vars(layer)[_SWITCH] = switch


def never_packing(model: nn.Module) -> dict[nn.Module, object]:
    """Prevent layers from packing their weights from now on; an evaluation during training would pack them.

    Args:
        model: any model.

    Returns:
        The previous setting of each layer.

    Raises:
        UnsupportedModelError: a layer has packed its weights already.
    """
    switches: dict[nn.Module, object] = {}
    layers = {path: layer for path, layer in model.named_modules() if _SWITCH in vars(layer)}
    for path, layer in layers.items():
        if getattr(getattr(layer.weight, "quant_state", None), "packing_format_for_cpu", False):
            raise UnsupportedModelError(
                f"`{path}` (a `{type(layer).__name__}` of bitsandbytes) has packed its weights for inference on this "
                "CPU: no gradient comes back through it, and its scores are rounded. It does so at the first forward "
                "pass without gradients in evaluation mode. Load the model again and make no such pass before, or set "
                f"`{_SWITCH} = False` on these layers first."
            )
    for layer in layers.values():
        switches[layer] = vars(layer)[_SWITCH]
        vars(layer)[_SWITCH] = False
    return switches
