"""Options that `preflens train` adds to those of `trl dpo`: keys of the YAML file, and flags of the same names."""

from dataclasses import dataclass, field
from typing import Any


def _option(default: Any, help: str) -> Any:  # noqa: ANN401  # dataclasses replace it by the value
    return field(default=default, metadata={"help": help})


# The first option of each panel of the help page, and the title of the panel.
OPTION_PANELS = {
    "model": "Model and data",
    "objective": "Objective",
    "probe_every": "Probe",
    "alert_both_falling": "Alerts",
    "samples": "Answers before and after",
}


@dataclass
class TrainOptions:
    """Options of a run that are not TRL's; the `help` of each field says what it means."""

    model: str | None = _option(None, "Causal language model: a hub id or a folder. The same as TRL's "
        "`model_name_or_path`.")  # fmt: skip
    adapter: str | None = _option(None, "Adapter of PEFT to continue from, a hub id or a folder. It is trained, and a "
        "frozen copy of it is the reference, as in TRL. Without it, `use_peft` makes a new one.")  # fmt: skip
    data: str | None = _option(None, "Preference pairs: json, jsonl (also .gz), parquet or csv file, "
        "`save_to_disk` folder, or hub id. TRL's `dataset_name` and `datasets` work too.")  # fmt: skip
    data_split: str | None = _option(None, "Split of a folder or hub data set; `train` if there is one.")
    eval_data: str | None = _option(None, "Held-out pairs, as for `data`, for evaluation and for the probe.")
    eval_split: str | None = _option(None, "Split of `eval_data`, or of `data` where that is not given.")
    eval_fraction: float = _option(0.0, "Fraction of `data` to hold out, drawn with `seed`.")
    limit: int | None = _option(None, "Train on a random sample of this many pairs.")
    eval_limit: int | None = _option(None, "Hold out a random sample of this many pairs.")
    on_bad_row: str = _option("stop", "What to do with invalid rows: `stop`, or `drop` (skip and count them).")
    chat_template: str | None = _option(None, "Jinja file that replaces the tokenizer's chat template.")
    as_chat: bool = _option(False, "Convert text rows to messages: the prompt becomes the user's turn, the responses "
        "the assistant's.")  # fmt: skip
    objective: str | None = _option(None, "Objective, sum or schedule: `simpo:beta=2,gamma=1`, "
        "`0.7*dpo+0.3*sft`, `sft -> dpo @ 100`; see `preflens objectives`. Without it: TRL's `loss_type`.")  # fmt: skip
    mitigation: str | None = _option(None, "Change every step so that chosen answers rise and rejected ones fall: "
        "`normalized`, `cone:floor=0.2`, `sparse_mask:kind=contrast` …; see docs/mitigations.md. Needs an "
        "`objective`.")  # fmt: skip
    mitigation_probe: str | None = _option(None, "With `cone`: held-out pairs added as constraints, so that no "
        "step harms them: number of evaluation rows, file, folder or hub id. They cost one pass per step.")  # fmt: skip
    geometry_every: int | None = _option(None, "Log the gradient geometry of the batch every this many steps. "
        "Needs an `objective`.")  # fmt: skip
    probe_every: int = _option(10, "Forecast and measure at most every this many steps; 0 for never.")
    probe_pairs: str = _option("32", "Held-out pairs of the probe: how many of the evaluation data, or a "
        "file, folder or hub id.")  # fmt: skip
    max_overhead: float = _option(0.02, "Time for probing as a share of all other training time; 0 for no limit.")
    alert_both_falling: int = _option(5, "Alert when chosen and rejected both fall, after this many "
        "consecutive probed steps; 0 for never.")  # fmt: skip
    alert_chosen_below: float | None = _option(None, "Alert when the mean log-prob of held-out chosen answers "
        "is this many nats below its start.")  # fmt: skip
    alert_forecast_r2: float | None = _option(0.5, "Alert when first-order forecasts explain less than this "
        "share of the variance of the measured changes.")  # fmt: skip
    stop_on_alert: bool = _option(False, "End training at the first alert.")
    samples: int = _option(4, "Number of prompts to answer greedily before and after training; 0 for none.")
    sample_tokens: int = _option(128, "Maximal length of such an answer, in tokens.")
