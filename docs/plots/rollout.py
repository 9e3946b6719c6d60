"""Draws the plot of docs/experiments/rollout.md from the committed results."""

import json
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
COLOURS = {"dpo": "#0072b2", "slic": "#d55e00"}


def main() -> None:
    """Draw the error of the rollout against the number of steps, one panel per data set and size of steps."""
    lines = (ROOT / "experiments" / "results" / "rollout.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    names, gains = (list(dict.fromkeys(row[key] for row in rows)) for key in ("data", "margin gain"))
    figure, axes = plt.subplots(
        len(gains), len(names), figsize=(11, 5.2), layout="constrained", sharex=True, sharey=True
    )
    for row in rows:
        axis = axes[gains.index(row["margin gain"]), names.index(row["data"])]
        points = [(s, e) for s, e in zip(row["steps"], row["error"], strict=True) if e is not None]
        axis.plot(*zip(*points, strict=True), "o-", ms=3, color=COLOURS[row["objective"]], label=row["objective"])
    for axis in axes.flat:
        axis.axhspan(1e-6, 0.1, color="#009e73", alpha=0.1, linewidth=0)
        axis.set(xscale="log", yscale="log", ylim=(1e-4, 10))
    for column, name in enumerate(names):
        axes[0, column].set_title(name)
        axes[-1, column].set_xlabel("real steps")
    for number, gain in enumerate(gains):
        axes[number, 0].set_ylabel(f"error, margin grows by {gain:g}")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.savefig(ROOT / "docs" / "images" / "rollout.png", dpi=130)


if __name__ == "__main__":
    main()
