"""Factors made small enough to be kept."""

from torch import Tensor

from preflens.gram.products.factors import Factor, Flat, Lookup, Outer
from preflens.gram.products.layout import Layout
from preflens.gram.products.modes import Use
from preflens.gram.softmax_rows import SoftmaxRows


def compact(factor: Factor, layout: Layout) -> Factor:
    """Cut off rows that carry no gradient, and form gradients that are smaller than what they are made of.

    Args:
        factor: the gradients.
        layout: of their pass.

    Returns:
        The same gradients.
    """
    if isinstance(factor, Outer):
        layout = layout.narrowed(factor.grads)
        inputs, grads = layout.cut(factor.inputs), layout.cut(factor.grads)
        cut = Outer(inputs, grads, factor.input_first, factor.with_bias)
        d_in, d_out = inputs.shape[2], grads.shape[2]
        return Flat(cut.dense()) if d_in * d_out < inputs.shape[1] * (d_in + d_out) else cut
    if isinstance(factor, Lookup):
        return Lookup(layout.cut(factor.ids), layout.cut(factor.grads), factor.entries)
    return factor


def tensors_of(use: Use) -> list[Tensor]:
    """Return what a part of a gradient is kept as.

    Args:
        use: the part.

    Returns:
        Its tensors.
    """
    if isinstance(use, SoftmaxRows):
        return [use.head.hidden]
    return [v for v in vars(use).values() if isinstance(v, Tensor)]


def bytes_of(use: Use) -> int:
    """Return the memory that a part of a gradient takes.

    Args:
        use: the part.

    Returns:
        Bytes.
    """
    return sum(t.numel() * t.element_size() for t in tensors_of(use))
