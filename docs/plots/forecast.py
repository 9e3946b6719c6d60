"""Draws the plot of docs/experiments/forecast.md from the committed results."""

import json
from pathlib import Path

import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
COLOURS = {"optimizer": "#009e73", "persistence": "#999999", "plain": "#d55e00"}


def main() -> None:
    """Draw the agreement with the measured changes against the learning rate, one panel per data set."""
    lines = (ROOT / "experiments" / "results" / "forecast.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    names = list(dict.fromkeys(row["data"] for row in rows))
    figure, axes = plt.subplots(2, len(names), figsize=(11, 5.4), layout="constrained", sharex=True, sharey="row")
    for column, name in enumerate(names):
        for kind, colour in COLOURS.items():
            key = f"{kind}, chosen and rejected"
            points = [r for r in rows if r["data"] == name and key in r["agreement"]]
            rates = [r["learning rate"] for r in points]
            heights = [max(-1, r["agreement"][key]["r2"]) for r in points]
            axes[0, column].plot(rates, heights, "o", color=colour, label=kind)
            if kind == "optimizer":
                axes[1, column].plot(rates, [r["agreement"][key]["slope"] for r in points], "o", color=colour)
        axes[0, column].set(xscale="log", title=name, ylim=(-1.05, 1.05))
        axes[0, column].axhline(0.95, color="#333", linewidth=0.8, linestyle="--")
        axes[1, column].axhspan(0.9, 1.1, color="#009e73", alpha=0.12)
        axes[1, column].set(xlabel="learning rate of AdamW", ylim=(0.5, 1.5))
    axes[0, 0].set_ylabel("R² over steps (cut at −1)")
    axes[1, 0].set_ylabel("slope of measured on forecast")
    axes[0, 0].legend(frameon=False, fontsize=8, loc="lower left")
    figure.savefig(ROOT / "docs" / "images" / "forecast.png", dpi=130)


if __name__ == "__main__":
    main()
