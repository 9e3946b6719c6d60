"""Equality with the loss that TRL's trainer computes, and its gradient, on the same log-probs."""

import pytest
import torch

from preflens import PairLogps, trl_objective
from preflens.errors import ObjectiveError
from preflens.objectives import TRL_LOSS_TYPES
from tests.cases.logps import drawn_logps
from tests.cases.trl_loss import trl_loss, trl_trainer

# TRL works in float32 here: sums of up to twelve token log-probs, squares and exponentials of them.
FLOAT32 = {"rtol": 5e-5, "atol": 2e-6}

# TRL 1.16's list, and what it refuses.
DIVERGENCES = ("forward_kl", "js_divergence", "alpha_divergence")
OF_DIFFERENCES = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft")
SORTING = ("aot", "aot_unpaired")
UNWEIGHABLE = ("hinge", "sft")  # TRL 1.16 multiplies them in place, which autograd refuses
SMOOTHED = ("exo_pair", "robust", *SORTING)
AT_REFERENCE = {
    "sigmoid": 0.6931, "robust": 0.6931, "aot": 0.6931, "aot_unpaired": 0.6931, "sigmoid_norm": 0.6931, "hinge": 1.0,
    "ipo": 25.0, "nca_pair": 1.3863, "bco_pair": 1.3863, "sppo_hard": 50.0, "apo_zero": 1.0, "apo_down": 1.0,
    "discopop": 0.8466,
}  # fmt: skip

every_loss_type = pytest.mark.parametrize("loss_type", TRL_LOSS_TYPES)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    return trl_trainer(tmp_path_factory.mktemp("trl"))


def assert_equal_to_trl(trainer, loss_types, *, seed=0, loss_weights=None, **fields):
    smoothing = 0.1 if set(loss_types) & set(SMOOTHED) else 0.0
    logps = drawn_logps(seed=seed, spread=2.5, dtype=torch.float32)
    common = {"label_smoothing": smoothing, **fields}
    objective = trl_objective(loss_types, loss_weights=loss_weights, **common)
    weights = loss_weights or [1.0] * len(loss_types)
    loss, chosen, rejected = trl_loss(trainer, logps, loss_types=loss_types, loss_weights=weights, **common)
    torch.testing.assert_close(objective.loss(logps).mean(), loss, **FLOAT32)
    c = objective.coefficients(logps)
    inside = [torch.arange(12) < n[:, None] for n in (logps.chosen_tokens, logps.rejected_tokens)]
    if c.per_token is None:
        ours = [d[:, None] * mask for d, mask in zip((c.chosen, c.rejected), inside, strict=True)]
    else:
        ours = [c.per_token.chosen, c.per_token.rejected]
    scale = max(float(d.abs().max()) for d in ours)
    close = {"rtol": 1e-4, "atol": 1e-5 * scale}
    torch.testing.assert_close(ours[0], chosen.double(), **close)
    torch.testing.assert_close(ours[1], -rejected.double(), **close)


@every_loss_type
@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_every_loss_type_equals_trl_in_value_and_gradient(trainer, loss_type, beta):
    for seed in range(3):
        assert_equal_to_trl(trainer, [loss_type], beta=beta, seed=seed)


@pytest.mark.parametrize("loss_type", OF_DIFFERENCES)
def test_every_divergence_equals_trl_where_it_allows_one(trainer, loss_type):
    for divergence in DIVERGENCES:
        assert_equal_to_trl(trainer, [loss_type], f_divergence_type=divergence)
    for alpha in (0.2, 1.0, 1.5):
        assert_equal_to_trl(trainer, [loss_type], f_divergence_type="alpha_divergence", f_alpha_divergence_coef=alpha)


@every_loss_type
def test_length_desensitisation_equals_trl(trainer, loss_type):
    for alpha in (0.0, 0.3, 1.0):
        assert_equal_to_trl(trainer, [loss_type], ld_alpha=alpha)


@pytest.mark.parametrize("loss_type", [t for t in TRL_LOSS_TYPES if t not in {*SORTING, *UNWEIGHABLE}])
def test_weighted_preference_optimization_equals_trl(trainer, loss_type):
    assert_equal_to_trl(trainer, [loss_type], use_weighting=True)
    assert_equal_to_trl(trainer, [loss_type], use_weighting=True, ld_alpha=0.4)


@pytest.mark.parametrize("loss_type", UNWEIGHABLE)
def test_trl_cannot_weigh_some_losses_that_it_accepts(trainer, loss_type):
    with pytest.raises(RuntimeError, match=r"inplace operation|single memory location"):
        assert_equal_to_trl(trainer, [loss_type], use_weighting=True)


def test_weighted_sums_of_losses_equal_trl(trainer):
    assert_equal_to_trl(trainer, ["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0])  # MPO's weights
    assert_equal_to_trl(trainer, ["sigmoid", "sft"], loss_weights=[1.0, 0.5], ld_alpha=0.3)
    assert_equal_to_trl(trainer, ["ipo", "nca_pair"], loss_weights=[1.0, 0.5], ld_alpha=0.3, use_weighting=True)
    assert_equal_to_trl(trainer, ["sigmoid", "sft"], f_divergence_type="js_divergence")


@pytest.mark.parametrize("loss_type", AT_REFERENCE)
def test_loss_at_the_reference_is_the_known_number(loss_type):
    same, count = torch.full((4,), -20.0, dtype=torch.float64), torch.full((4,), 10)
    loss = trl_objective(loss_type).loss(PairLogps(same, same, same, same, count, count))
    torch.testing.assert_close(loss, torch.full_like(loss, AT_REFERENCE[loss_type]), rtol=1e-4, atol=0)


@every_loss_type
def test_what_trl_refuses_is_refused(loss_type):
    if loss_type not in OF_DIFFERENCES:
        with pytest.raises(ObjectiveError, match="does not go with objective"):
            trl_objective(loss_type, f_divergence_type="forward_kl", label_smoothing=0.1)
    if loss_type in SORTING:
        with pytest.raises(ObjectiveError, match="sorts the batch"):
            trl_objective(loss_type, use_weighting=True)
    if loss_type == "exo_pair":
        with pytest.raises(ObjectiveError, match="`eps` of objective `exo` should be in"):
            trl_objective(loss_type)


def test_names_that_trl_does_not_have_are_refused():
    with pytest.raises(ObjectiveError, match="no loss type `sigmoidd`. Did you mean `sigmoid`"):
        trl_objective("sigmoidd")
    with pytest.raises(ObjectiveError, match="no divergence `chi2`"):
        trl_objective(f_divergence_type="chi2")
    with pytest.raises(ObjectiveError, match="Found 1 and 2"):
        trl_objective(["sigmoid", "sft"], loss_weights=[1.0])


def test_smoothing_is_ignored_by_sigmoid_as_in_trl():
    assert trl_objective("sigmoid", label_smoothing=0.3).parameters == {"beta": 0.1}
