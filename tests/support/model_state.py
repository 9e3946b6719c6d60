"""Everything of a model that a caller could miss after a call."""

import torch


def state(model):
    """Everything a caller could miss."""
    return (
        [(n, p.detach().clone(), p.requires_grad, p.grad, p.data_ptr()) for n, p in model.named_parameters()],
        [(m.training, len(m._forward_hooks), len(m._backward_hooks), sorted(vars(m))) for m in model.modules()],
        torch.get_rng_state(),
    )


def assert_same_state(one, other):
    for (n, a, r, g, d), (n2, a2, r2, g2, d2) in zip(one[0], other[0], strict=True):
        assert (n, r, d) == (n2, r2, d2)
        assert g is g2
        assert torch.equal(a, a2)
    assert one[1] == other[1]
    assert torch.equal(one[2], other[2])
