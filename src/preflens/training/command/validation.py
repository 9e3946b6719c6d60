"""Check a configuration before a model is loaded."""

from importlib.util import find_spec
from pathlib import Path

from transformers.integrations.integration_utils import get_available_reporting_integrations

from preflens.analysis.options import LARGEST_LEARNING_RATE
from preflens.errors import InputError, MissingExtraError
from preflens.language_models.loading import check_model_folder
from preflens.language_models.model_names import ADAPTER_FILE, check_folder
from preflens.language_models.reading import check_data
from preflens.mitigations.parse import parse_mitigation
from preflens.objectives.schedule import schedule
from preflens.train_config.options import TrainOptions
from preflens.training.command.configuration import Configuration
from preflens.training.mitigation.held_out_constraints import check_constraints

# Settings of TRL's losses and their defaults.
_TRL_LOSS_SETTINGS = {"loss_type": ["sigmoid"], "loss_weights": None, "beta": 0.1, "label_smoothing": 0.0}


def check_configuration(configuration: Configuration) -> None:
    """Refuse a configuration that cannot run.

    Args:
        configuration: of a run.

    Raises:
        InputError: a setting is missing, or settings cannot be combined.
    """
    if configuration.run.trust_remote_code:
        raise InputError("`trust_remote_code` is refused: preflens runs no code from the hub.")
    check_model_folder(model_name(configuration))
    _check_adapter(configuration)
    _check_data(configuration)
    _check_learning_rate(configuration.run.learning_rate)
    _check_numbers(configuration.options)
    _check_loss(configuration)
    _check_installed(configuration)
    resume = resumed_from(configuration)
    if isinstance(resume, str) and not (Path(resume) / "trainer_state.json").is_file():
        raise InputError(f"`resume_from_checkpoint` should be `true` or the folder of a checkpoint. Found `{resume}`.")
    if resume is True and not list(Path(configuration.run.output_dir).glob("checkpoint-*")):
        raise InputError(f"There is no checkpoint in `{configuration.run.output_dir}` to resume from.")


def model_name(configuration: Configuration) -> str:
    """Return the model of a run.

    Args:
        configuration: of the run.

    Returns:
        Hub id or folder.

    Raises:
        InputError: none is given.
    """
    name: str | None = configuration.options.model or configuration.model.model_name_or_path
    if not name:
        raise InputError("No model is given: `--model` takes a hub id or a folder.")
    return name


def resumed_from(configuration: Configuration) -> str | bool | None:
    """Return the checkpoint to resume from.

    Args:
        configuration: of the run.

    Returns:
        Its folder; True for the last one in the output folder; None for a fresh start.
    """
    setting: str | bool | None = configuration.run.resume_from_checkpoint
    if setting is None or isinstance(setting, bool):
        return setting or None
    words: dict[str, bool | None] = {"true": True, "false": None}
    return words.get(setting.lower(), setting)


def _check_adapter(configuration: Configuration) -> None:
    adapter = configuration.options.adapter
    if adapter is None:
        return
    if configuration.model.use_peft:
        raise InputError(
            f"`use_peft` makes a new adapter, `adapter` continues from `{adapter}`: give one of the two. To add a new "
            "adapter, merge the old one into its model first."
        )
    if find_spec("peft") is None:
        raise MissingExtraError("`adapter` needs peft: pip install 'preflens[train]'.")
    check_folder(adapter, ADAPTER_FILE, "an adapter")


def _check_data(configuration: Configuration) -> None:
    options, script = configuration.options, configuration.script
    sources = (
        ("data", options.data),
        ("dataset_name", script.dataset_name),
        ("datasets", configuration.mixture.datasets),
    )
    named = [name for name, value in sources if value]
    if len(named) != 1:
        names = " and ".join(f"`{name}`" for name in named) or "none"
        raise InputError(f"Data come from one of `--data` (as for `preflens analyze`), TRL's `--dataset_name`, or "
                         f"`datasets` in the configuration. Found {names}.")  # fmt: skip
    if options.eval_fraction and (options.eval_data or options.eval_split):
        raise InputError("Held-out pairs come from `eval_data` and `eval_split`, or are an `eval_fraction`; not both.")
    own_options = ("eval_data", "eval_split", "eval_fraction", "limit", "eval_limit", "as_chat", "data_split")
    if not options.data and (without := [name for name in own_options if getattr(options, name)]):
        raise InputError(f"`{without[0]}` needs `--data`; TRL's `{named[0]}` has options of its own.")
    for name in (options.data, options.eval_data, options.probe_pairs, options.mitigation_probe):
        if name and not name.isdecimal():
            check_data(name)
    held_out = options.eval_data or options.eval_split or options.eval_fraction or not options.data
    if str(getattr(configuration.run.eval_strategy, "value", configuration.run.eval_strategy)) != "no" and not held_out:
        raise InputError("`eval_strategy` needs held-out pairs: give `eval_data`, `eval_split` or `eval_fraction`.")


def _check_learning_rate(rate: float) -> None:
    if not 0 <= rate <= LARGEST_LEARNING_RATE:
        raise InputError(f"`learning_rate` should be from 0 to {LARGEST_LEARNING_RATE:g}. Found {rate:g}.")


def _check_numbers(options: TrainOptions) -> None:
    if options.mitigation is not None:
        parse_mitigation(options.mitigation)
        if options.objective is None:
            raise InputError("`mitigation` needs an `objective`; without one, TRL's own loss is trained unchanged.")
    check_constraints((options.mitigation or "").partition(":")[0], options.mitigation_probe)
    if options.objective is not None:
        schedule(options.objective)
    elif options.geometry_every is not None:
        raise InputError("`geometry_every` needs an `objective`; without one, TRL's own loss is trained unchanged.")
    if options.on_bad_row not in {"stop", "drop"}:
        raise InputError(f"`on_bad_row` should be `stop` or `drop`. Found `{options.on_bad_row}`.")
    if not 0 <= options.eval_fraction < 1:
        raise InputError(f"`eval_fraction` should be from 0 to below 1. Found {options.eval_fraction}.")
    for name, least in (("probe_every", 0), ("samples", 0), ("sample_tokens", 1), ("max_overhead", 0),
                        ("limit", 1), ("eval_limit", 1), ("geometry_every", 1), ("alert_both_falling", 0)):  # fmt: skip
        value = getattr(options, name)
        if value is not None and value < least:
            raise InputError(f"`{name}` should be at least {least}. Found {value}.")


def _check_loss(configuration: Configuration) -> None:
    """Refuse settings of TRL's losses beside an objective, which has parameters of its own."""
    if configuration.options.objective is None:
        return
    for name, default in _TRL_LOSS_SETTINGS.items():
        value = getattr(configuration.run, name)
        if value != default:
            raise InputError(f"With an `objective`, TRL's `{name}` is not read. Found {value}. Put it in the "
                             "objective, as in `dpo:beta=0.05` or `0.7*dpo+0.3*sft`, or leave it out.")  # fmt: skip


def _check_installed(configuration: Configuration) -> None:
    trackers = configuration.run.report_to
    names = [trackers] if isinstance(trackers, str) else list(trackers or ())
    available = {*get_available_reporting_integrations(), "none", "all"}
    if missing := [name for name in names if name not in available]:
        raise InputError(f"`report_to` names `{missing[0]}`, which is not installed or not known. There are "
                         f"{', '.join(f'`{name}`' for name in sorted(available))}.")  # fmt: skip
    if configuration.model.use_peft and find_spec("peft") is None:
        raise MissingExtraError("`use_peft` needs peft: pip install 'preflens[train]'.")
