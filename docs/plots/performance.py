"""Draws the plots of docs/performance.md from the committed results of the benchmarks."""

import json
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
RESULTS, IMAGES = ROOT / "benchmarks" / "results", ROOT / "docs" / "images"
# Okabe and Ito's colours, which survive colour blindness.
COLOURS = {
    "pairs": "#009e73",
    "full": "#56b4e9",
    "lean": "#999999",
    "one backward each": "#d55e00",
    "vmap(grad)": "#cc79a7",
}


def rows(name: str) -> list[dict]:
    """Return the lines of a result file."""
    return [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def cost_by_model() -> None:
    """Draw the cost of each method as a ratio to a plain training pass: medians over processes, and their range."""
    lines: dict[tuple[str, str], list[float]] = {}
    for row in rows("pair_geometry"):
        if row["pairs"] != 4 or "124M" not in row["model"]:  # 124M has a group of more responses besides
            ends = [row.get(f"ratio, {end}", row["ratio"]) for end in ("least", "most")]
            lines.setdefault((row["model"], row["method"]), []).extend([ends[0], row["ratio"], ends[1]])
    models = list(dict.fromkeys(model for model, _ in lines))
    figure, axis = plt.subplots(figsize=(10, 4.4), layout="constrained")
    width = 0.8 / len(COLOURS)
    for k, (method, colour) in enumerate(COLOURS.items()):
        values = [lines.get((model, method), [0.0]) for model in models]
        heights = [median(v) for v in values]
        below = [h - min(v) for h, v in zip(heights, values, strict=True)]
        above = [max(v) - h for h, v in zip(heights, values, strict=True)]
        places = [i + (k - (len(COLOURS) - 1) / 2) * width for i in range(len(models))]
        axis.bar(places, heights, width, color=colour, label=method)
        if any(above) or any(below):
            axis.errorbar(places, heights, (below, above), fmt="none", ecolor="#333", elinewidth=1)
    axis.axhline(1, color="#333", linewidth=1, linestyle="--")
    axis.set_xticks(range(len(models)), [m.replace(", ", ",\n").replace(" on ", "\non ") for m in models], fontsize=8)
    axis.set_ylabel("cost, ratio to a plain forward + backward")
    axis.legend(ncols=5, frameon=False, fontsize=9)
    figure.savefig(IMAGES / "performance-models.png", dpi=130)


def cost_by_shape() -> None:
    """Draw the cost against the length of rows, and for each pair against the number of pairs."""
    lines = rows("scaling")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    length = list(
        {r["tokens"]: r for r in lines if r["model"].endswith("45M") and r["prompt"] * 2 == r["tokens"]}.values()
    )
    left.plot([r["tokens"] for r in length], [r["ratio"] for r in length], "o-", color=COLOURS["pairs"])
    left.axhline(1, color="#333", linewidth=1, linestyle="--")
    left.set(xscale="log", ylim=(0, 1.1), xlabel="tokens in a row (half of them the response)", ylabel="ratio to plain")
    left.set_title("GPT-2-like 45M", fontsize=10)
    many = [r for r in lines if r["model"].endswith("10M")]
    for key, method, colour in (
        ("seconds a pair", "pairs", COLOURS["pairs"]),
        ("plain seconds a pair", "plain", "#333"),
    ):
        right.plot([r["pairs"] for r in many], [r[key] for r in many], "o-", color=colour, label=method)
    right.set(xscale="log", xlabel="pairs in a pass", ylabel="seconds a pair")
    right.set_ylim(bottom=0)
    right.set_title("GPT-2-like 10M, 128 tokens", fontsize=10)
    right.legend(frameon=False)
    figure.savefig(IMAGES / "performance-shapes.png", dpi=130)


def memory() -> None:
    """Draw the peak memory of one call beyond the model."""
    lines = [r for r in rows("pair_geometry") if "peak megabytes" in r]
    models = list(dict.fromkeys(r["model"] for r in lines))
    figure, axis = plt.subplots(figsize=(10, 3.4), layout="constrained")
    methods = {"plain": "#999999", "pairs": COLOURS["pairs"], "one backward each": COLOURS["one backward each"]}
    for k, (method, colour) in enumerate(methods.items()):
        by_model = {r["model"]: r["peak megabytes"] for r in lines if r["method"] == method}
        heights = [by_model.get(model, 0) for model in models]
        axis.bar([i + (k - 1) * 0.27 for i in range(len(models))], heights, 0.27, color=colour, label=method)
    axis.set_xticks(range(len(models)), [m.replace(", ", ",\n").replace(" on ", "\non ") for m in models], fontsize=8)
    axis.set_ylabel("peak memory, MB, model apart")
    axis.legend(frameon=False)
    figure.savefig(IMAGES / "performance-memory.png", dpi=130)


def training() -> None:
    """Draw the cost of a training step with the probe and with ours, as a ratio to TRL's own."""
    lines = [r for r in rows("train_step") if r["ratio"] != 1]
    models, methods = (list(dict.fromkeys(r[key] for r in lines)) for key in ("model", "method"))
    figure, axis = plt.subplots(figsize=(10, 3.4), layout="constrained")
    for k, (method, colour) in enumerate(zip(methods, ("#e69f00", "#56b4e9", "#009e73"), strict=True)):
        heights = [next(r["ratio"] for r in lines if (r["model"], r["method"]) == (m, method)) for m in models]
        axis.bar([i + (k - 1) * 0.27 for i in range(len(models))], heights, 0.27, color=colour, label=method)
    axis.axhline(1, color="#333", linewidth=1, linestyle="--")
    axis.set_xticks(range(len(models)), models, fontsize=8)
    axis.set_ylabel("step, ratio to TRL's own")
    axis.legend(frameon=False)
    figure.savefig(IMAGES / "performance-training.png", dpi=130)


if __name__ == "__main__":
    cost_by_model()
    cost_by_shape()
    memory()
    training()
