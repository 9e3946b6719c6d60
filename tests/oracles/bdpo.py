"""Truth for `bdpo`: coefficients and loss."""

import torch
import torch.nn.functional as F

from tests.oracles.formulas import ratios, s


def coefficients(x, beta=0.1, lam=0.5):
    a, b = ratios(x)
    # the mixture by its larger term, so that exp does not overflow
    top = torch.clamp(b, min=0)
    mixture = lam * torch.exp(b - top) + (1 - lam) * torch.exp(-top)
    d = beta * s(-beta * (a - top - mixture.log()))
    return d, d * lam * torch.exp(b - top) / mixture


def loss(x, beta=0.1, lam=0.5):
    # the mixture as probabilities of the response, not of the ratio
    shift = torch.maximum(x.rejected, x.ref_rejected)
    mixture = lam * torch.exp(x.rejected - shift) + (1 - lam) * torch.exp(x.ref_rejected - shift)
    return -F.logsigmoid(beta * (ratios(x)[0] - (mixture.log() + shift - x.ref_rejected)))
