"""Losses of TRL's other trainers, which the probe does not support, as objectives of `PreferenceTrainer`."""


def equivalent_objective(trainer: object) -> str | None:
    """Return the objective with the loss of a trainer.

    Args:
        trainer: TRL's experimental CPO trainer (with SimPO and AlphaPO) or ORPO trainer, or another one.

    Returns:
        The text of an objective for `PreferenceTrainer`, or None. The likelihood term in TRL's ORPO is a mean over all
        chosen tokens of a batch, here within each response.
    """
    kinds = {kind.__name__ for kind in type(trainer).__mro__}
    beta = getattr(trainer, "beta", 0.1)
    if "ORPOTrainer" in kinds:
        return f"orpo:lam={beta:g}"
    if "CPOTrainer" not in kinds:
        return None
    alpha, gamma, likelihood = (float(getattr(trainer, name, 0)) for name in ("alpha", "simpo_gamma", "cpo_alpha"))
    beta_and_gamma = f"beta={beta:g},gamma={gamma:g}"
    simpo = f"alphapo:{beta_and_gamma},alpha={alpha:g}" if alpha else f"simpo:{beta_and_gamma}"
    margins = {"simpo": simpo, "sigmoid": f"cpo:beta={beta:g},lam=0"}
    margin = margins.get(getattr(trainer, "loss_type", ""))
    if margin is None or float(getattr(trainer, "label_smoothing", 0)):
        return None
    return f"{margin}+{likelihood:g}*sft" if likelihood else margin
