"""Held-out pairs: their selection, the gradients of their mean log-probs, and inner products with them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from preflens.analysis.measurement.forward_passes import MicroBatches
from preflens.analysis.measurement.real_steps import PlainUpdate, logp_values
from preflens.errors import InputError
from preflens.gram import directional_derivatives
from preflens.gram.factors.scored_rows import head_logps
from preflens.language_models.batch import PairBatch
from preflens.language_models.conversations import render
from preflens.language_models.logps import response_logps
from preflens.language_models.output_head import head_input
from preflens.language_models.tokenizing import TokenizedPair


def split_pairs(
    pairs: Sequence[TokenizedPair], *, fraction: float, seed: int
) -> tuple[list[TokenizedPair], list[TokenizedPair]]:
    """Hold out a share of the pairs. All pairs of a prompt are on the same side.

    Args:
        pairs: all pairs.
        fraction: share of the pairs to hold out, as nearly as whole prompts allow.
        seed: of the draw.

    Returns:
        Training pairs and held-out pairs, each in order.

    Raises:
        InputError: the fraction is not between 0 and 1, or one side is empty.
    """
    if not 0 < fraction < 1:
        raise InputError(
            f"`held_out_fraction` should be above 0 and below 1. Found {fraction:g}.", arguments=["held_out_fraction"]
        )
    sizes = Counter(prompt_text(p) for p in pairs)
    prompts = list(sizes)
    held_out_prompts, count = set(), 0
    for i in np.random.default_rng([seed, 2]).permutation(len(prompts)).tolist():
        if count >= fraction * len(pairs):
            break
        held_out_prompts.add(prompts[i])
        count += sizes[prompts[i]]
    training = [p for p in pairs if prompt_text(p) not in held_out_prompts]
    if not training or not held_out_prompts:
        raise InputError(
            f"`held_out_fraction={fraction:g}` of {len(pairs)} pairs with {len(prompts)} different prompts leaves no "
            "pair on one side. Pass held-out pairs as `held_out`.",
            arguments=["held_out_fraction", "held_out"],
        )
    return training, [p for p in pairs if prompt_text(p) in held_out_prompts]


def without_training_pairs(
    held_out: Sequence[TokenizedPair], training: Sequence[TokenizedPair]
) -> tuple[list[TokenizedPair], int]:
    """Drop held-out pairs with the tokens of a training pair.

    Args:
        held_out: as read.
        training: the training pairs.

    Returns:
        The remaining pairs, and how many of their prompts are prompts of training pairs.

    Raises:
        InputError: no pair remains.
    """
    training_tokens = {(p.prompt_ids, p.chosen_ids, p.rejected_ids) for p in training}
    prompts = {prompt_text(p) for p in training}
    kept = [p for p in held_out if (p.prompt_ids, p.chosen_ids, p.rejected_ids) not in training_tokens]
    if not kept:
        raise InputError(
            f"All {len(held_out)} pairs of `held_out` are training pairs, so none is held out. Pass other pairs, or "
            "split the data with `held_out_fraction`.",
            arguments=["held_out", "held_out_fraction"],
        )
    return kept, sum(prompt_text(p) in prompts for p in kept)


def mean_gradients(passes: MicroBatches) -> tuple[PlainUpdate, PlainUpdate]:
    """Compute the gradients of the mean chosen and of the mean rejected log-prob, in one sweep over the pairs.

    V_w = (1/M) Σ_j ∇a_w^j and V_l = (1/M) Σ_j ∇a_l^j. To first order the mean held-out chosen log-prob changes by
    ⟨V_w, update⟩, the mean margin by ⟨V_w − V_l, update⟩. So the ⟨g_i, V⟩ of the training responses predict both
    for every objective.

    Args:
        passes: the held-out pairs. No `.grad` is written.

    Returns:
        Both gradients, with one tensor per trainable parameter, in float32 or wider.
    """
    passes.scorer.stepping.check()
    parameters = [p for p in passes.model.parameters() if p.requires_grad]
    pairs = sum(map(len, passes.pairs))
    sums = [[torch.zeros_like(p, dtype=_wide(p)) for p in parameters] for _ in range(2)]
    for batch in passes.batches:
        for side, total in enumerate(sums):  # one backward pass per side, over its rows only
            values = _logps_of_side(passes, batch, side)
            gradients = torch.autograd.grad(values.sum() / pairs, parameters, materialize_grads=True)
            torch._foreach_add_(total, [g.to(t.dtype) for g, t in zip(gradients, total, strict=True)])
    return sums[0], sums[1]


def products_along(passes: MicroBatches, directions: Sequence[PlainUpdate]) -> Float64[Tensor, "update two pair"]:
    """Compute ⟨∇a_i, update⟩ for the responses of an update batch.

    Args:
        passes: the batch.
        directions: one or more updates, with one tensor per trainable parameter.

    Returns:
        Chosen and rejected responses, pairs in the order of the passes.
    """
    parts = [directional_derivatives(passes.model, f, directions).cpu() for f in passes.forwards_to_head()]
    return torch.cat([part.reshape(len(directions), 2, -1) for part in parts], dim=2)


def directions_that_fit(passes: MicroBatches, *, memory: float) -> int:
    """Count the tensors of the size of all trainable parameters that fit into memory.

    Args:
        passes: any passes of the model.
        memory: bytes.

    Returns:
        Their number, at least two.

    Raises:
        InputError: fewer than two fit.
    """
    size = sum(p.numel() * _wide(p).itemsize for p in passes.model.parameters() if p.requires_grad)
    if 2 * size > memory:
        raise InputError(
            f"Two gradients of the trainable parameters ({size / 1e9:.3g} GB each) do not fit into the "
            f"{memory / 1e9:.3g} GB that may be kept. Let fewer parameters step (`trainable`, an expression on their "
            "names), or use an adapter.",
            arguments=["trainable"],
        )
    return int(memory / size)


def _logps_of_side(passes: MicroBatches, batch: PairBatch, side: int) -> Float[Tensor, " pair"]:
    """Log-probs of the chosen or of the rejected responses of a pass, with their graph."""
    rows = (values.chunk(2)[side] for values in (batch.input_ids, batch.attention_mask, batch.completion_mask))
    half, head = PairBatch(*rows), passes.scorer.head
    with torch.enable_grad():
        values = response_logps(passes.model, half) if head is None else head_logps(head_input(head, half))
    if not bool(torch.isfinite(values.detach()).all()):
        logp_values(passes.forwards())  # names the pair
    return values


def prompt_text(pair: TokenizedPair) -> str:
    """Return the prompt as a text, by which pairs of one prompt are known.

    Its tokens may differ from pair to pair, where they merge with the responses.

    Args:
        pair: any pair.

    Returns:
        The text.
    """
    return render(pair.pair.prompt)


def _wide(parameter: Tensor) -> torch.dtype:
    return torch.promote_types(parameter.dtype, torch.float32)
