"""The script that `preflens train` launches, as one process of a run."""

import sys
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from jinja2 import TemplateError

from preflens.errors import InputError, PreflensError
from preflens.language_models.loading import load_tokenizer
from preflens.language_models.model_names import LOADING_ERRORS, first_line
from preflens.language_models.reading import PairSource
from preflens.language_models.token_limits import TokenLimits
from preflens.train_config.options import TrainOptions
from preflens.training.command.before_after import BeforeAfter
from preflens.training.command.configuration import Configuration, read_configuration
from preflens.training.command.data import run_data
from preflens.training.command.messages import (
    FIRST,
    OUTPUT,
    print_error,
    print_machine_defaults,
    print_output_files,
    print_pair_counts,
    print_training_reference,
)
from preflens.training.command.samples import Sample, greedy_samples
from preflens.training.command.starting_point import starting_point
from preflens.training.command.tokenized_data import check_prepared
from preflens.training.command.validation import check_configuration, model_name, resumed_from
from preflens.training.probe.alerts import Alerts
from preflens.training.probe.callback import PreflensCallback
from preflens.training.probe.held_out import tokenized_row
from preflens.training.trainer import PreferenceTrainer
from preflens.training.trainer_protocol import unwrapped_model


def run_process(flags: Sequence[str]) -> int:
    """Train; print errors of the user as one line on standard error.

    Args:
        flags: of the command line, without those of the launcher.

    Returns:
        The exit code: 0, or 2 after an error of the user.
    """
    # TRL 1.16 and peft use names that transformers 5.23 has deprecated
    warnings.filterwarnings("ignore", "`.*gradient_checkpointing.*` is deprecated", FutureWarning)
    try:
        configuration = read_configuration(flags)
        check_configuration(configuration)
        run_training(configuration)
    except PreflensError as error:
        print_error(error)
        return 2
    return 0


def run_training(configuration: Configuration) -> None:
    """Train, save, and print the paths of the results.

    Args:
        configuration: of the run.
    """
    options, run = configuration.options, configuration.run
    print_machine_defaults(configuration)
    trainer = make_trainer(configuration)
    before = _greedy_answers(trainer, options)
    _run(trainer, resumed_from(configuration))
    trainer.save_model(run.output_dir)
    trainer.save_state()
    after = _greedy_answers(trainer, options)
    out = Path(run.output_dir)
    if before:
        samples = BeforeAfter(before, after, options.sample_tokens)
        samples.save(out / "preflens" / "samples.json")
        samples.show(OUTPUT)
    print_output_files(out)
    if run.push_to_hub:
        trainer.push_to_hub(dataset_name=configuration.script.dataset_name or options.data)
    if hasattr(trainer, "end"):  # transformers 5.18 and later: closes trackers and processes
        trainer.end()


def _run(trainer: PreferenceTrainer, checkpoint: str | bool | None) -> None:
    """Train; TRL checks the names of its losses on the first step only."""
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except ValueError as error:
        if "Unknown loss type" not in str(error):
            raise
        raise InputError(f"{first_line(error)}.") from None


def make_trainer(configuration: Configuration) -> PreferenceTrainer:
    """Load model and data, and make the trainer.

    Args:
        configuration: of the run.

    Returns:
        The trainer.

    Raises:
        InputError: something cannot be loaded, or settings cannot be combined.
        PreflensError: likewise, raised by the package.
    """
    options, run, name = configuration.options, configuration.run, model_name(configuration)
    revision = configuration.model.model_revision
    template = None if options.chat_template is None else Path(options.chat_template)
    tokenizer = load_tokenizer(name, revision=revision, chat_template=template)
    limits = TokenLimits.of(name, revision=revision)
    data = run_data(configuration, tokenizer, limits)
    print_pair_counts(data.train, data.held_out)
    try:
        trainer = PreferenceTrainer(
            **starting_point(configuration),
            args=run,
            train_dataset=data.train,
            eval_dataset=data.held_out,
            processing_class=tokenizer,
            objective=options.objective,
            mitigation=options.mitigation,
            mitigation_probe=data.constraints,
            probe=_probe(options, data.probe),
            geometry_every=options.geometry_every,
        )
    except PreflensError:
        raise
    except (*LOADING_ERRORS, TypeError, IndexError, TemplateError) as error:
        raise InputError(f"The run cannot be set up: {first_line(error)}.") from error
    if not options.data:
        for name_of_set, rows in (("training pairs", trainer.train_dataset), ("held-out pairs", trainer.eval_dataset)):
            check_prepared(rows, limits, name=name_of_set, max_length=run.max_length)
    print_training_reference(trainer)
    return trainer


def _probe(options: TrainOptions, probe_pairs: PairSource | int) -> PreflensCallback | None:
    if not options.probe_every:
        return None
    alerts = Alerts(
        both_falling=options.alert_both_falling or None,
        chosen_below=options.alert_chosen_below,
        forecast_r2=options.alert_forecast_r2,
    )
    return PreflensCallback(
        every=options.probe_every,
        probe_pairs=probe_pairs,
        max_overhead=options.max_overhead or None,
        alerts=alerts,
        stop_on_alert=options.stop_on_alert,
    )


def _greedy_answers(trainer: PreferenceTrainer, options: TrainOptions) -> list[Sample]:
    """Answers of the first process; none where parameters are sharded over processes."""
    if not options.samples or not FIRST or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return []
    rows = trainer.train_dataset if trainer.eval_dataset is None else trainer.eval_dataset
    pairs = [tokenized_row(row, trainer.args.max_length) for row in islice(iter(rows), options.samples)]
    model = unwrapped_model(trainer)
    prompts = [pair.prompt_ids for pair in pairs]
    return greedy_samples(model, trainer.processing_class, prompts, max_new_tokens=options.sample_tokens)


if __name__ == "__main__":
    sys.exit(run_process(sys.argv[1:]))
