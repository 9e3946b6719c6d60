"""Layers of drawn shapes, one builder for each way a module can be known: by class, by numbers, or not at all."""

import torch
from torch import nn
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm, Gemma2TextScaledWordEmbedding
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.pytorch_utils import Conv1D


class Quadratic(nn.Module):
    """A layer that no rule knows."""

    def __init__(self, width):
        super().__init__()
        self.w, self.v = nn.Parameter(torch.randn(3, width)), nn.Parameter(torch.randn(width))

    def forward(self, x):
        return (x * self.w[0] + x.square() * self.w[1:].sum(0)) * self.v.tanh()


class LinearByAnotherName(nn.Module):
    """Computes what `nn.Linear` computes."""

    def __init__(self, width, out):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(out, width)), nn.Parameter(torch.randn(out))

    def forward(self, x):
        return x @ self.weight.T + self.bias


def spread(module):
    """Give every parameter values that are not all alike."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn_like(p))
    return module


# name → builder from input and output width; those that look up take ids below the input width + 2.
LAYERS = {
    "linear": lambda width, out: nn.Linear(width, out),
    "linear without bias": lambda width, out: nn.Linear(width, out, bias=False),
    "linear by another name": LinearByAnotherName,
    "conv1d": lambda width, out: Conv1D(out, width),
    "layer_norm": lambda width, _: nn.LayerNorm(width),
    "layer_norm without bias": lambda width, _: nn.LayerNorm(width, bias=False),
    "rms norm": lambda width, _: LlamaRMSNorm(width),
    "rms norm of gemma": lambda width, _: Gemma2RMSNorm(width),
    "unknown": lambda width, _: Quadratic(width),
    "embedding": lambda width, out: nn.Embedding(width + 2, out),
    "embedding with padding": lambda width, out: nn.Embedding(width + 2, out, padding_idx=1),
    "scaled embedding": lambda width, out: Gemma2TextScaledWordEmbedding(width + 2, out, 1, embed_scale=3.0),
}
LOOKS_UP = {"embedding", "embedding with padding", "scaled embedding"}
