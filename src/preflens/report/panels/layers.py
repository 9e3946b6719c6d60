"""The contribution of each layer to the inner products and the squared norms."""

from plotly.subplots import make_subplots

from preflens.records.analysis import Analysis
from preflens.records.analysis_metadata import LayerSums
from preflens.report.plots import CHOSEN, REJECTED, hover_text, plot
from preflens.report.section import Section

_PARTS = (
    ("inner product", "inner_product", "#009E73"),
    ("squared chosen norm", "chosen_sq_norm", CHOSEN),
    ("squared rejected norm", "rejected_sq_norm", REJECTED),
)


def layers(analysis: Analysis) -> Section | None:
    """Draw the share of each layer in the inner product and the squared norms, and its cosine.

    Args:
        analysis: the record to show.

    Returns:
        A section with bars, or None with fewer than two layers.
    """
    sums = analysis.metadata.layers
    if len(sums) < 2:
        return None
    names = _short_names([layer.name for layer in sums])
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.03)
    for name, field, colour in _PARTS:
        total = sum(getattr(layer, field) for layer in sums)
        shares = [100 * getattr(layer, field) / total if total else 0.0 for layer in sums]
        hover = f"%{{y}}: %{{x:.2f}} % of the {name}<extra></extra>"
        figure.add_bar(
            y=names, x=shares, name=name, orientation="h", marker={"color": colour}, hovertemplate=hover, row=1, col=1
        )
    figure.add_bar(
        y=names, x=[_cosine(layer) for layer in sums], orientation="h", marker={"color": "#666"}, showlegend=False,
        hovertemplate="%{y}: %{x:.3f}<extra></extra>", row=1, col=2,
    )  # fmt: skip
    figure.update_xaxes(title="share, %", row=1, col=1)
    figure.update_xaxes(title="cosine", range=[-1.02, 1.02], tickvals=[-1, 0, 1], row=1, col=2)
    figure.update_yaxes(autorange="reversed", automargin=True)
    height = 160 + 46 * len(sums)
    return Section("Layers", {"plot": plot(figure, name="layers", height=height)})


def _cosine(layer: LayerSums) -> float | None:
    product = (layer.chosen_sq_norm * layer.rejected_sq_norm) ** 0.5
    return layer.inner_product / product if product else None


def _short_names(names: list[str]) -> list[str]:
    """Drop the path that all layers share. Tied weights have the name of their first owner."""
    paths = [name.split(" + ")[0].split(".") for name in names]
    shared = 0
    while all(len(path) > shared + 1 and path[shared] == paths[0][shared] for path in paths):
        shared += 1
    short = [".".join(path[shared:]) + " (tied)" * (" + " in name) for path, name in zip(paths, names, strict=True)]
    return [hover_text(name) for name in (short if len(set(short)) == len(short) else names)]
