"""An analysis and a comparison that are written by hand: no model, and every number is known."""

from dataclasses import replace

import pyarrow as pa

from preflens.records.analysis import Analysis
from preflens.records.analysis_metadata import (
    AnalysisMetadata,
    DataProvenance,
    Estimate,
    Geometry,
    LayerSums,
    ModelProvenance,
    ObjectiveSummary,
    Verification,
)
from preflens.records.analysis_schema import OBJECTIVES_SCHEMA, PAIRS_SCHEMA
from preflens.records.comparison import Comparison
from preflens.records.comparison_metadata import (
    EQUAL_MARGIN,
    BeforeSplit,
    ComparisonMetadata,
    MeanChange,
    ObjectiveComparison,
    RealSteps,
    RolloutCheck,
    SmallStep,
    Trajectory,
)
from preflens.records.comparison_schema import COMPARE_SCHEMA, HELD_OUT_SCHEMA, TRAINING_SCHEMA

VERSIONS = {"preflens": "0.0", "torch": "9.9"}
DATA = DataProvenance(
    source="pairs.jsonl", fingerprint="f00", rows=9, sampled=7, pairs=3, dropped={"empty response": 2},
    noted={"identical responses": 1}, max_length=64,
)  # fmt: skip
MODEL = ModelProvenance(
    name="tiny", architecture="GPT2LMHeadModel", fingerprint="abc", dtype="float32", device="cpu", parameters=1200,
    trainable=1000, selection="all", reference="self",
)  # fmt: skip
# ‖g_w‖², ‖g_l‖², ⟨g_w, g_l⟩ of three pairs: cosines 0.5, −0.5 and 1.
GRAM = {"a": (4.0, 1.0, 1.0), "b": (1.0, 4.0, -1.0), "c": (1.0, 1.0, 1.0)}
# d_w and d_l of the same pairs; one chosen coefficient is negative.
COEFFICIENTS = {"a": (0.5, 0.5), "b": (1.0, 0.5), "c": (-0.5, 0.5)}
OUTCOMES = {"a": "intended", "b": "intended", "c": "reversed"}


def table(schema, rows):
    """A table of rows; a column that a row lacks is 0, or the empty text."""
    empty = {name: "" if schema.field(name).type == pa.string() else 0 for name in schema.names}
    return pa.Table.from_pylist([empty | row for row in rows], schema=schema)


def pair_rows():
    return [
        {
            "id": name, "chosen_sq_norm": w, "rejected_sq_norm": r, "inner_product": product,
            "cosine": product / (w * r) ** 0.5, "prompt": "the sky is", "chosen": f"blue and {name}",
            "rejected": "green and wide",
        }
        for name, (w, r, product) in GRAM.items()
    ]  # fmt: skip


def summary(label="dpo", **changes):
    nats = Estimate(0.2, 0.1, 0.3)
    values = {
        "label": label, "name": "dpo", "parameters": {"beta": 0.1}, "chosen_change": nats,
        "rejected_change": Estimate(-0.6, -0.8, -0.4), "margin_change": Estimate(0.8, 0.5, 1.1),
        "chosen_per_margin": Estimate(0.25, 0.1, 0.4), "rejected_per_margin": Estimate(-0.75, -0.9, -0.6),
        "outcomes": {
            "intended": Estimate(0.5), "both_rise": Estimate(0.25), "both_fall": Estimate(0.125),
            "reversed": Estimate(0.125), "unchanged": Estimate(0.0),
        },
        "inside_band": Estimate(0.5), "negative": 0, "same_direction_as": None,
    }  # fmt: skip
    return ObjectiveSummary(**(values | changes))


def analysis(**changes):
    """Three pairs under DPO; one real step on two of them."""
    half = Estimate(0.5, 0.25, 0.75)
    metadata = AnalysisMetadata(
        format_version=3, created="2026-01-02T03:04:05", command=None, versions=VERSIONS,
        arguments={"learning_rate": 1e-6}, data=DATA, model=MODEL, update_batches=(2, 1), text_limit=1000,
        geometry=Geometry(half, Estimate(3.0), Estimate(4.0), Estimate(0.1), Estimate(0.2)),
        layers=(LayerSums("model.h.0", 1.0, 4.0, 1.0), LayerSums("model.h.1", 3.0, 12.0, -3.0)),
        objectives=(summary(),),
        verification=(
            Verification(
                objective="dpo", batches=1, step_sizes=(0.1,), ids=("a", "a", "b", "b"),
                sides=("chosen", "rejected", "chosen", "rejected"), forecast=(0.01, -0.02, 0.03, -0.04),
                measured=(0.011, -0.021, 0.031, -0.041), slope=1.025, correlation=0.9999, signs_right=1.0,
                rounding_floor=1e-6,
            ),
        ),
        seconds={"geometry": 1.5},
    )  # fmt: skip
    metadata = replace(metadata, **changes)
    rows = [
        {
            "id": name,
            "objective": o.label,
            "chosen_coefficient": w,
            "rejected_coefficient": r,
            "outcome": OUTCOMES[name],
        }
        for o in metadata.objectives
        for name, (w, r) in COEFFICIENTS.items()
    ]
    return Analysis(table(PAIRS_SCHEMA, pair_rows()), table(OBJECTIVES_SCHEMA, rows), metadata)


def objective(label="dpo", **changes):
    change = MeanChange(Estimate(-0.2, -0.3, -0.1), Estimate(-0.6, -0.7, -0.5), Estimate(0.4, 0.3, 0.5))
    path = Trajectory(
        scale=EQUAL_MARGIN, learning_rate=0.25, steps=(1, 10), train_chosen=(0.0, 0.0), train_rejected=(0.0, 0.0),
        heldout_chosen=(-0.1, -0.9), heldout_rejected=(-0.3, -1.5), broke_off=None, impossible_from=None,
    )  # fmt: skip
    values = {
        "label": label, "name": label.partition(":")[0], "parameters": {"beta": 0.1}, "in_grid": False,
        "outcomes": {"intended": 0.75}, "train": change, "heldout": change,
        "chosen_per_margin": Estimate(-0.5, -0.75, -0.25), "rejected_per_margin": Estimate(-1.5, -1.75, -1.25),
        "margin_scale": 2.5, "negative": 0, "same_direction_as": None, "trajectories": (path,),
    }  # fmt: skip
    return ObjectiveComparison(**(values | changes))


def comparison(**changes):
    """Three training pairs, two held-out pairs, DPO, one small real step and a real trajectory."""
    small = SmallStep(
        update_batch=0, step_size=0.1, r2_chosen=0.99, r2_rejected=0.98, r2_margin=0.97, chosen_forecast=(0.01, 0.02),
        chosen_measured=(0.011, 0.021), rejected_forecast=(-0.03, -0.04), rejected_measured=(-0.031, -0.041),
    )  # fmt: skip
    check = RolloutCheck(
        objective="dpo", scale=EQUAL_MARGIN, learning_rate=0.25, steps=(1, 10), chosen_measured=(-0.1, -0.8),
        rejected_measured=(-0.3, -1.4), error=(None, 0.125), within_ten_percent=0, rounding_floor=1e-6, diverged=False,
    )  # fmt: skip
    metadata = ComparisonMetadata(
        format_version=3, created="2026-01-02T03:04:05", command="preflens compare --model tiny", versions=VERSIONS,
        arguments={"learning_rate": 0.001, "horizon": "1,10", "margin_gain": 1.0}, data=DATA,
        probe=replace(DATA, source="pairs.jsonl, held out", pairs=2, dropped={}, noted={}),
        before_split=BeforeSplit({"prompt fills the maximal length": 4}, {}), model=MODEL, update_batches=(2, 1),
        followed=(2, 2), text_limit=1000, objectives=(objective(),), left_out={}, per_pair=None,
        real_steps=(RealSteps("dpo", (small,), (check,)),), seconds={"geometry": 1.5},
    )  # fmt: skip
    influences = {"a": (-0.3, -0.1, -0.2), "b": (0.2, -0.2, 0.4), "c": (-0.1, 0.1, -0.2)}
    rows = [
        {"id": name, "objective": "dpo", "outcome": "both_fall", "heldout_chosen_influence": values[0],
         "heldout_rejected_influence": values[1], "heldout_margin_influence": values[2]}
        for name, values in influences.items()
    ]  # fmt: skip
    return Comparison(
        table(COMPARE_SCHEMA, rows), table(TRAINING_SCHEMA, pair_rows()), table(HELD_OUT_SCHEMA, []),
        replace(metadata, **changes),
    )  # fmt: skip
