"""Rewards and log-probs in the log are those of TRL's own trainers, for every loss that TRL has."""

import pytest
import torch
from datasets import Dataset
from trl import DPOTrainer

from preflens import OBJECTIVES, parse_objective
from preflens.objectives import TRL_LOSS_TYPES
from preflens.objectives.trl import TrlSettings
from preflens.pair_logps import PairLogps
from preflens.training import PreferenceTrainer
from preflens.training.trl_rewards import logged_values, rewards_need_reference
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.training import in_the_old_layout, make_trainer, policy_and_reference, rows

NAMES = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
)
REWARDS = NAMES[:4]

# Losses of TRL's DPOTrainer with settings that are no defaults: our text, and the fields of its configuration.
CHANGED = {
    "ld": ("dpo:beta=0.3@ld:alpha=0.4", {"ld_alpha": 0.4}),
    "ld, wpo": ("dpo:beta=0.3@ld:alpha=0.4@wpo", {"ld_alpha": 0.4, "use_weighting": True}),
    "forward_kl": ("dpo:beta=0.3@forward_kl", {"f_divergence_type": "forward_kl"}),
    "js_divergence": ("dpo_norm:beta=0.3@js_divergence",
                      {"loss_type": "sigmoid_norm", "f_divergence_type": "js_divergence"}),
    "sum": ("dpo:beta=0.3+0.2*sft", {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]}),
    "sum, likelihood first": ("0.2*sft+ipo_per_token:tau=0.3",
                              {"loss_type": ["sft", "ipo"], "loss_weights": [0.2, 1.0]}),
    "sum, ld": ("dpo:beta=0.3@ld:alpha=0.4+0.2*sft",
                {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2], "ld_alpha": 0.4}),
}  # fmt: skip


def first_log(folder, *, trainer, **changes):
    """The log of one step over all pairs at once, with a reference that is another model."""
    model, reference = policy_and_reference()[0], tiny_model("llama", dtype=torch.float32, seed=1)
    made = make_trainer(
        folder, trainer=trainer, model=model, reference=reference, per_device_train_batch_size=8, max_steps=1,
        eval_strategy="steps", eval_steps=1, **changes,
    )  # fmt: skip
    made.train()
    return {name: value for log in made.state.log_history for name, value in log.items()}


def assert_same(found, expected, names):
    for name in names:
        assert float(found[name]) == pytest.approx(float(expected[name]), rel=2e-5, abs=1e-6), name


@pytest.mark.parametrize("loss_type", TRL_LOSS_TYPES)
def test_every_loss_of_the_dpo_trainer_logs_the_rewards_of_trl(loss_type, tmp_path):
    smoothing = 0.1 if loss_type == "exo_pair" else 0.0
    # The β of a loss is its own; that of the configuration is TRL's for losses that have none.
    objective, beta = TRL_LOSS_TYPES[loss_type](TrlSettings(beta=0.3, label_smoothing=smoothing)), {"beta": 0.3}
    ours = first_log(
        tmp_path / "a", trainer=PreferenceTrainer, objective=objective, **(beta if loss_type == "sft" else {})
    )
    theirs = first_log(tmp_path / "b", trainer=DPOTrainer, loss_type=loss_type, label_smoothing=smoothing, **beta)
    assert_same(ours, theirs, [*NAMES, *(f"eval_{name}" for name in NAMES)])


@pytest.mark.parametrize("name", CHANGED)
def test_modified_losses_and_sums_log_the_rewards_of_trl(name, tmp_path):
    text, fields = CHANGED[name]
    own = {"use_weighting": True} if "wpo" in name else {}
    ours = first_log(tmp_path / "a", trainer=PreferenceTrainer, objective=text, **own)
    assert_same(ours, first_log(tmp_path / "b", trainer=DPOTrainer, beta=0.3, **fields), NAMES)


# Losses of TRL's experimental trainers: our text, the trainer, its configuration.
REFERENCE_FREE = {
    "simpo": ("simpo:beta=2.5,gamma=1", "CPO", {"loss_type": "simpo", "beta": 2.5, "simpo_gamma": 1.0}),
    "alphapo": ("alphapo:beta=2,alpha=0.25", "CPO", {"loss_type": "simpo", "beta": 2.0, "alpha": 0.25}),
    "cpo": ("cpo:beta=0.3", "CPO", {"loss_type": "sigmoid", "beta": 0.3}),
    "slic": ("slic:delta=1", "CPO", {"loss_type": "hinge", "beta": 1.0}),
    "orpo": ("orpo:lam=0.3", "ORPO", {"beta": 0.3}),
}


@pytest.fixture(scope="module")
def experimental():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        from trl.experimental.cpo import CPOConfig, CPOTrainer
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer
    return {"CPO": (CPOTrainer, CPOConfig), "ORPO": (ORPOTrainer, ORPOConfig)}


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", REFERENCE_FREE)
def test_every_loss_without_a_reference_logs_the_rewards_of_trls_trainer_for_it(name, experimental, tmp_path):
    text, kind, fields = REFERENCE_FREE[name]
    trainer, config = experimental[kind]
    args = config(
        output_dir=str(tmp_path / "a"), use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, **fields
    )
    data = Dataset.from_list(rows())
    theirs = trainer(model=policy_and_reference()[0], args=args, train_dataset=data, processing_class=tiny_tokenizer())
    ours = make_trainer(
        tmp_path / "b", trainer=PreferenceTrainer, objective=text, per_device_train_batch_size=8, max_steps=1
    )
    _, expected = theirs.get_batch_loss_metrics(theirs.model, in_the_old_layout(ours))
    ours.train()
    assert_same(ours.state.log_history[0], expected, REWARDS)


def pairs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = [-torch.rand(3, 5, generator=generator, dtype=torch.float64) for _ in range(4)]
    counts = torch.tensor([5, 3, 4])
    tokens = [t.masked_fill(torch.arange(5) >= counts[:, None], 0.0) for t in tokens]
    w, l, ref_w, ref_l = (t.sum(1) for t in tokens)  # noqa: E741
    return PairLogps(w, l, ref_w, ref_l, counts, counts, *tokens)


@pytest.mark.parametrize("name", [n for n, make in OBJECTIVES.items() if make().needs_reference])
def test_rewards_of_every_loss_with_a_reference_are_its_beta_times_log_ratios(name):
    objective, logps = OBJECTIVES[name](), pairs()
    beta = objective.parameters.get("tau" if name.startswith("ipo") else "beta", 1.0)
    ratios = torch.cat([logps.chosen - logps.ref_chosen, logps.rejected - logps.ref_rejected])
    _, found = logged_values(objective, logps, beta=123.0)
    assert rewards_need_reference(objective)
    torch.testing.assert_close(found, beta * ratios)


@pytest.mark.parametrize(("text", "scale"), [("rrhf", "per token"), ("slime", "sum"), ("slic:delta=3", "sum")])
def test_rewards_of_losses_that_trl_lacks_are_what_their_margin_takes(text, scale):
    logps = pairs()
    plain = torch.cat([logps.chosen, logps.rejected])
    lengths = torch.cat([logps.chosen_tokens, logps.rejected_tokens])
    seen, found = logged_values(parse_objective(text), logps, beta=123.0)
    torch.testing.assert_close(found, plain / lengths if scale == "per token" else plain)
    torch.testing.assert_close(seen, plain)
