"""Quantised layers that pack their weights for inference: kept from it, and refused where they have done it.

In evaluation mode, on a CPU with AVX512-BF16, the 4-bit layers of bitsandbytes turn their weights into another form at
the first call whose input needs no gradient. From then on they send no gradient back and compute in bfloat16, and the
weights can only be got back by loading them again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from preflens.errors import UnsupportedModelError

# What bitsandbytes' `Linear4bit` asks before it packs.
_SWITCH = "support_avx512bf16_for_cpu"


@contextmanager
def kept_from_packing(model: nn.Module) -> Iterator[None]:
    """Let no layer pack its weights for a while.

    Args:
        model: any model; what its layers support is as before afterwards.

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
    """Let no layer pack its weights from now on; in training an evaluation in between would do it.

    Args:
        model: any model.

    Returns:
        What the layers supported before.

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
