"""The same token ids and log-probs as TRL's DPOTrainer on the same rows, for policy and reference."""

import pytest
import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from preflens.language_models.batch import collate
from preflens.language_models.logps import response_logps
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import tokenize_pairs
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS, chat_rows

# Sums of up to 40 token log-probs of float32, computed by another kernel.
FLOAT32 = {"rtol": 1e-5, "atol": 2e-5}

IMPLICIT = [{k: row["prompt"] * (k != "id") + row[k] for k in ("id", "chosen", "rejected")} for row in TEXT_ROWS]
IMPLICIT_CHAT = [
    {"chosen": row["prompt"] + row["chosen"], "rejected": row["prompt"] + row["rejected"]} for row in chat_rows()
]
ROWS = {"text": TEXT_ROWS, "chat": chat_rows(), "implicit text": IMPLICIT, "implicit chat": IMPLICIT_CHAT}


def trainer_on(rows, tmp_path, *, kind="gpt2", max_length=32, **settings):
    policy, reference = tiny_model(kind, dtype=torch.float32), tiny_model(kind, dtype=torch.float32, seed=1)
    arguments = DPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", max_length=max_length,
        per_device_train_batch_size=len(rows), disable_tqdm=True, **settings,
    )  # fmt: skip
    tokenizer = tiny_tokenizer()
    trainer = DPOTrainer(
        model=policy,
        ref_model=reference,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{k: v for k, v in row.items() if k != "id"} for row in rows]),
    )
    ours = tokenize_pairs(pairs_in_memory(rows).pairs, tokenizer, max_length=max_length).pairs
    return trainer, ours


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("max_length", [22, 32, 64])
def test_token_ids_and_dropped_rows_are_those_of_trl(form, max_length, tmp_path):
    trainer, ours = trainer_on(ROWS[form], tmp_path, max_length=max_length)
    theirs = trainer.data_collator(list(trainer.train_dataset))
    batch = collate(ours, pad_token_id=0)
    assert torch.equal(batch.input_ids, theirs["input_ids"])
    assert torch.equal(batch.attention_mask.long(), theirs["attention_mask"])
    assert torch.equal(batch.completion_mask.long(), theirs["completion_mask"])


@pytest.mark.parametrize("form", ["text", "chat"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_log_probs_are_those_of_trl_for_policy_and_reference(form, kind, tmp_path):
    trainer, ours = trainer_on(ROWS[form], tmp_path, kind=kind)
    theirs = trainer.data_collator(list(trainer.train_dataset))
    labels = theirs["input_ids"].masked_fill(theirs["completion_mask"] == 0, -100)
    inputs = {"input_ids": theirs["input_ids"], "attention_mask": theirs["attention_mask"]}
    batch = collate(ours, pad_token_id=0)
    with torch.no_grad():
        expected = trainer.model(**inputs, labels=labels, fused_lm_head=True, use_cache=False).log_probs.sum(1)
        expected_reference = torch.cat(trainer.compute_ref_log_probs(trainer.ref_model, theirs))
        torch.testing.assert_close(response_logps(trainer.model, batch), expected, **FLOAT32)
        torch.testing.assert_close(response_logps(trainer.ref_model, batch), expected_reference, **FLOAT32)
    assert not torch.allclose(expected, expected_reference)


def test_loss_of_our_dpo_is_the_loss_the_trainer_computes(tmp_path):
    from preflens import PairLogps
    from preflens.objectives import dpo

    trainer, ours = trainer_on(TEXT_ROWS, tmp_path)
    theirs = trainer.data_collator(list(trainer.train_dataset))
    batch = collate(ours, pad_token_id=0)
    with torch.no_grad():
        policy, reference = (response_logps(m, batch).chunk(2) for m in (trainer.model, trainer.ref_model))
        expected = trainer.compute_loss(trainer.model, theirs)
    torch.testing.assert_close(dpo().loss(PairLogps(*policy, *reference)).mean(), expected, **FLOAT32)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5], "ld_alpha": 0.3},
        {"loss_type": ["ipo", "apo_down"], "use_weighting": True, "beta": 0.3},
        {"loss_type": ["aot_unpaired"], "beta": 0.5},
    ],
    ids=["sum with ld", "sum with wpo", "aot"],
)
def test_loss_and_gradient_of_a_whole_configuration_are_those_of_the_trainer(settings, tmp_path):
    from preflens import PairLogps, trl_objective

    trainer, _ = trainer_on(TEXT_ROWS, tmp_path, **settings)
    theirs = trainer.data_collator(list(trainer.train_dataset))
    parameters = list(trainer.model.parameters())
    loss = trainer.compute_loss(trainer.model, theirs)
    expected = torch.autograd.grad(loss, parameters)

    labels = theirs["input_ids"].masked_fill(theirs["completion_mask"] == 0, -100)
    inputs = {"input_ids": theirs["input_ids"], "attention_mask": theirs["attention_mask"], "labels": labels}
    policy = trainer.model(**inputs, fused_lm_head=True, use_cache=False)
    with torch.no_grad():
        reference = trainer.ref_model(**inputs, fused_lm_head=True, use_cache=False)
    logps = PairLogps.from_rows(
        policy.log_probs, theirs["completion_mask"][:, 1:].bool(), ref_token_logps=reference.log_probs,
        log_sum_sq_probs=policy.log_sum_sq_probs,
    )  # fmt: skip
    ours = trl_objective(**settings).loss(logps).mean()
    torch.testing.assert_close(ours, loss, **FLOAT32)
    for mine, other in zip(torch.autograd.grad(ours, parameters), expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())
