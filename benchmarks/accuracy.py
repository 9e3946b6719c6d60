"""Errors of the products by type and size, against float64 brute force with the same weights."""

import copy
from contextlib import nullcontext

import torch
from transformers import PreTrainedModel

from benchmarks.shared.baselines import one_backward_each
from benchmarks.shared.clock import about, print_json, run_script
from benchmarks.shared.models import CASES, random_pairs
from preflens import pair_gram
from preflens.gram import brute_force_pair_gram
from preflens.language_models.batch import PairBatch
from preflens.language_models.output_head import head_input, plain_head
from preflens.types import PairGram


def worst(found: PairGram, true: PairGram) -> float:
    """Return the largest error relative to the product of norms."""
    chosen, rejected = true.chosen_sq_norm, true.rejected_sq_norm
    scales = {"chosen_sq_norm": chosen, "rejected_sq_norm": rejected, "inner_product": (chosen * rejected).sqrt()}
    return max(float(((getattr(found, e) - getattr(true, e)).abs() / s).max()) for e, s in scales.items())


def engine(model: PreTrainedModel, batch: PairBatch, *, autocast: bool = False) -> PairGram:
    """Compute the Gram with the engine."""
    head = plain_head(model)
    assert head is not None

    def forward() -> object:
        with torch.autocast("cpu", dtype=torch.bfloat16) if autocast else nullcontext():
            return head_input(head, batch)

    return pair_gram(model, forward)


def flattened(model: PreTrainedModel, batch: PairBatch) -> PairGram:
    """Compute the Gram from flattened gradients in the type of the model."""
    rows = torch.tensor(one_backward_each(model, batch), dtype=torch.float64).T
    return PairGram(rows[0].square(), rows[1].square(), rows[2].clamp(-rows[0] * rows[1], rows[0] * rows[1]))


def main() -> None:
    """Print one line per model and method."""
    for name in ("GPT-2-like 1M", "GPT-2-like 10M", "GPT-2-like 124M", "Llama-like 45M, untied"):
        torch.manual_seed(0)
        case = CASES[name]
        model, batch = case.make(), random_pairs(case.vocabulary, 1, tokens=64)
        double = copy.deepcopy(model).double()
        head = plain_head(double)
        assert head is not None
        true = brute_force_pair_gram(double, lambda head=head, batch=batch: head_input(head, batch))
        errors = {
            "engine, float64": worst(engine(double, batch), true),
            "engine, float32": worst(engine(model, batch), true),
            "engine, bfloat16 autocast": worst(engine(model, batch, autocast=True), true),
            "flattened gradients, float32": worst(flattened(model, batch), true),
        }
        del double
        half = copy.deepcopy(model).bfloat16()
        rounded = copy.deepcopy(half).double()
        head = plain_head(rounded)
        assert head is not None
        true = brute_force_pair_gram(rounded, lambda head=head, batch=batch: head_input(head, batch))
        errors["engine, bfloat16"] = worst(engine(half, batch), true)
        for way, error in errors.items():
            print_json({"model": name, "way": way, "error": f"{error:.1e}"} | about())


if __name__ == "__main__":
    torch.set_num_threads(2)
    run_script(main)
