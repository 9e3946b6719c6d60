"""Settings of a `PreferenceTrainer` that cannot be combined."""

from preflens.errors import InputError
from preflens.objectives.schedule import Schedule
from preflens.training.mitigation.controller import MitigationController
from preflens.training.trainer_protocol import ObjectiveTrainerLike


def check_settings(
    trainer: ObjectiveTrainerLike,
    mitigation: MitigationController | None,
    *,
    geometry_every: int | None,
    replace_head: bool | None,
) -> bool:
    """Refuse settings that cannot be combined, and decide whether TRL's fused head is replaced.

    Args:
        trainer: with its objective.
        mitigation: of the trainer, or None.
        geometry_every: the trainer's argument.
        replace_head: the trainer's argument.

    Returns:
        Whether response rows only are scored.

    Raises:
        InputError: settings cannot be combined.
    """
    objective = trainer.objective
    if objective is None:
        if geometry_every is not None or replace_head or mitigation is not None:
            raise InputError(
                "`geometry_every`, `replace_head` and `mitigation` need an `objective`. Without one, TRL's own loss is "
                "trained unchanged."
            )
        return False
    uses_token_confidence = _check_objective(trainer, objective)
    if mitigation is not None:
        replace_head = mitigation.check(objective, replace_head=replace_head)
        if geometry_every is not None:
            raise InputError("With a `mitigation`, the geometry is logged anyway: leave out `geometry_every`.")
    if replace_head is None:
        replace_head = trainer.accelerator.device.type == "cpu" and not uses_token_confidence
    if geometry_every is not None and (not replace_head or trainer.aux_loss_enabled):
        raise InputError("`geometry_every` needs `replace_head`, which is off here, and a loss of log-probs alone.")
    return replace_head


def _check_objective(trainer: ObjectiveTrainerLike, objective: Schedule) -> bool:
    """Refuse TRL's settings of its own losses; return whether the objective reads token confidence (WPO)."""
    args = trainer.args
    is_plain_loss = args.loss_weights is None and not args.label_smoothing
    if args.ld_alpha is not None or trainer.f_divergence_type != "reverse_kl" or not is_plain_loss:
        raise InputError(
            "With an `objective`, `ld_alpha`, `f_divergence_type`, `label_smoothing` and `loss_weights` of the "
            "configuration are not read. Put them into the objective: `dpo@ld:alpha=0.5`, `dpo@forward_kl`, `cdpo`."
        )
    if list(trainer.loss_types) != ["sigmoid"]:
        raise InputError(
            f"Give an `objective` or a `loss_type`, not both. Found {trainer.loss_types} beside an objective."
        )
    uses_token_confidence = any("token confidence" in o.inputs for o in objective.objectives)
    if uses_token_confidence != bool(trainer.use_weighting):
        raise InputError(
            "`use_weighting=True` in the configuration and an objective with `@wpo` need each other. Found only one."
        )
    return uses_token_confidence
