"""Cost of comparing all objectives relative to comparing one, as JSON lines.

The pass over the pairs does not depend on the objectives. What comes after it is timed, as a share of the pass: the
first steps with their tables and summaries, and the rollout. This is done for one objective, for all, and for all with
a grid of beta.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.shared.clock import run_script
from preflens.analysis.comparison.first_step import Training, first_steps, stack_batches
from preflens.analysis.comparison.model_queries import ModelQueries
from preflens.analysis.comparison.rollout_pairs import RolloutSetup
from preflens.analysis.comparison.rollouts import recorded_steps, trajectories
from preflens.analysis.comparison.selection import Choice, choose_objectives
from preflens.analysis.comparison.summary import first_changes, own_steps, summarize
from preflens.analysis.comparison.tables import compare_table
from preflens.analysis.measurement.checkpoint import Checkpoint
from preflens.analysis.measurement.forward_passes import PassLimit, PolicyScorer
from preflens.analysis.measurement.progress import one_thread
from preflens.language_models.output_head import plain_head
from preflens.language_models.pairs import PreferencePair
from preflens.language_models.parameters import observing
from preflens.language_models.tokenizing import TokenizedPair

SIZES = {"1M": (128, 4, 4000), "10M": (256, 8, 16000)}
PAIRS, BATCH, TOKENS, HELD_OUT, RATE, ROUNDS = 64, 16, 64, 16, 1e-6, 5
GRID = ("dpo.beta=0.01,0.03,0.1,0.3,1,3", "simpo.beta=1,2,2.5,5,10")


def random_pairs(vocabulary: int, count: int) -> list[TokenizedPair]:
    """Return pairs of random tokens, half prompt and half response."""
    rows = torch.randint(1, vocabulary, (count, 3, TOKENS // 2)).tolist()
    return [TokenizedPair(PreferencePair(str(i), "", "", ""), *map(tuple, row)) for i, row in enumerate(rows)]


def first(choice: Choice, training: Training, products: torch.Tensor, pairs: list[TokenizedPair]) -> None:
    """Compute the first step of every objective, for own pairs and update batches, with table and summary."""
    batches = [list(part) for part in torch.arange(PAIRS).split(BATCH)]
    steps = first_steps(choice.objectives, training, products, choice.mitigations)
    own, outcomes = own_steps(list(choice.objectives), steps, training, learning_rate=RATE)
    compare_table(steps, own, outcomes, pairs=pairs, batches=batches, learning_rate=RATE)
    changes = first_changes(list(choice.objectives), steps, training, learning_rate=RATE)
    summarize(choice.objectives, steps, changes, outcomes, gridded=choice.gridded,
              trajectories=dict.fromkeys(choice.objectives, ()))  # fmt: skip


def rolled(choice: Choice, setup: RolloutSetup) -> None:
    """A hundred steps of every objective, at two scales."""
    steps = recorded_steps((1, 10, 100))
    with one_thread():
        own = dict.fromkeys(choice.objectives, 2 * RATE)
        trajectories(choice.objectives, setup.followed, learning_rate=RATE, equal_margin_rates=own, steps=steps)


def seconds(run: Callable[[], object], *, rounds: int = ROUNDS) -> float:
    """Return the median wall-clock time after a warm-up round."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times[1:])


def measure(name: str, width: int, layers: int, vocabulary: int) -> None:
    """Print one line per choice of objectives."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=width // 64, n_positions=256,
                        bos_token_id=0, eos_token_id=0)  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    pairs, held_out = random_pairs(vocabulary, PAIRS), random_pairs(vocabulary, HELD_OUT)
    batches = [pairs[start : start + BATCH] for start in range(0, PAIRS, BATCH)]
    with observing(model, "all"):
        scorer = PolicyScorer(model, plain_head(model), 0)
        ask = ModelQueries(scorer, PassLimit(pairs=8), "self", 4e9, Checkpoint(None, ""), False)
        grams = ask.geometry(batches)
        unit = seconds(lambda: ask.geometry(batches), rounds=1)
        training, products = stack_batches(grams), ask.products(batches, held_out)
        setup = ask.rollout_setup(batches, held_out, pairs=BATCH, seed=0)
        more = {"Gram pass, seconds": unit, "held-out means, share of the pass":
                seconds(lambda: ask.products(batches, held_out), rounds=1) / unit}  # fmt: skip
    choices = {
        "one": choose_objectives(["dpo"], [], reference="self"),
        "all": choose_objectives(["all"], [], reference="self"),
        "all and a grid": choose_objectives(["all"], GRID, reference="self"),
    }
    baseline = None
    for what, choice in choices.items():
        with one_thread():  # as in `compare`
            first_seconds = seconds(lambda choice=choice: first(choice, training, products, pairs))
        baseline = first_seconds if baseline is None else baseline
        print_row({
            "model": f"GPT-2-like {name}", "pairs": PAIRS, "update batch": BATCH, "tokens": TOKENS,
            "objectives": len(choice.objectives), "which": what, "first steps, seconds": first_seconds,
            "more than one objective, share of the pass": (first_seconds - baseline) / (unit + baseline),
            "rollout of one objective, milliseconds":
                1000 * seconds(lambda choice=choice: rolled(choice, setup), rounds=1) / len(choice.objectives),
            **more, "torch": torch.__version__, "threads": torch.get_num_threads(),
        })  # fmt: skip


def print_row(row: Mapping[str, object]) -> None:
    """Print one line of JSON."""
    print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


def main() -> None:
    """Measure every size, or those that are named."""
    for size in sys.argv[1:] or list(SIZES):
        measure(size, *SIZES[size])


if __name__ == "__main__":
    run_script(main)
