"""A real small language model and real preference pairs, end to end through the command line."""

import gzip
import json

import pyarrow.parquet as pq
import pytest

from preflens import Analysis

pytestmark = pytest.mark.real_data

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
SETS = ["polite_edits", "tweets_long", "persona_yesno", "pandalm_human"]
CHAT_SETS = ["polite_edits", "persona_yesno", "pandalm_human"]


def analyze(preflens, real_data, data, out, *more):
    code, told, err = preflens(
        "analyze", "--model", real_data / "models" / "stories260k", "--data", real_data / "data" / "preference" / data,
        "--out", out, "--limit", 24, "--update-batch-size", 8, "--verify", 1, "--no-progress", *more,
    )  # fmt: skip
    assert code == 0, err
    assert "nat of margin" in " ".join(told.split()) or "does not clearly widen" in " ".join(told.split())
    return Analysis.load(out)


def check(analysis):
    metadata = analysis.metadata
    assert metadata.data.pairs == analysis.pairs.num_rows == 24
    assert metadata.update_batches == (8, 8, 8)
    assert set(analysis.objectives["outcome"].to_pylist()) <= {"intended", "both_fall", "both_rise", "unchanged"}
    for check in metadata.verification:
        assert check.slope == pytest.approx(1, abs=0.1)
        assert check.correlation > 0.99
        assert check.rounding_floor < 1e-3
    assert metadata.geometry.cosine.low <= metadata.geometry.cosine.value <= metadata.geometry.cosine.high


@pytest.mark.parametrize("name", SETS)
def test_plain_pairs(name, preflens, real_data, tmp_path):
    check(
        analyze(preflens, real_data, f"{name}.train.jsonl.gz", tmp_path, "--objective", "dpo", "--objective", "simpo")
    )


@pytest.mark.parametrize("name", CHAT_SETS)
def test_conversations_with_a_given_template(name, preflens, real_data, tmp_path):
    (tmp_path / "template.jinja").write_text(TEMPLATE)
    template = ["--chat-template", tmp_path / "template.jinja"]
    check(analyze(preflens, real_data, f"{name}.train.chat.jsonl.gz", tmp_path / "out", *template))


def test_ids_and_texts_are_those_of_the_file(preflens, real_data, tmp_path):
    name = "polite_edits.test.jsonl.gz"
    analysis = analyze(preflens, real_data, name, tmp_path)
    with gzip.open(real_data / "data" / "preference" / name, "rt", encoding="utf-8") as file:
        rows = {row["id"]: row for row in map(json.loads, file)}
    for found in pq.read_table(tmp_path / "pairs.parquet").to_pylist():
        assert all(found[c] == rows[found["id"]][c] for c in ("prompt", "chosen", "rejected"))
    assert analysis.metadata.data.rows == len(rows)


def test_longer_shared_suffixes_entangle_more(preflens, real_data, tmp_path):
    cosines = [
        analyze(preflens, real_data, f"tweets_{form}.test.jsonl.gz", tmp_path / form).metadata.geometry.cosine.value
        for form in ("token", "short", "long")
    ]
    assert cosines == sorted(cosines)


def test_token_ids_and_log_probs_are_those_of_trl(real_data, tmp_path):
    import torch
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from preflens import load_model, load_tokenizer, read_pairs
    from preflens.language_models.batch import collate
    from preflens.language_models.logps import response_logps
    from preflens.language_models.tokenizing import tokenize_pairs

    folder = str(real_data / "models" / "stories260k")
    source = read_pairs(real_data / "data" / "preference" / "pandalm_human.test.jsonl.gz")
    rows = [{"prompt": p.prompt, "chosen": p.chosen, "rejected": p.rejected} for p in source.pairs[:40]]
    tokenizer = load_tokenizer(folder)
    arguments = DPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", max_length=256, disable_tqdm=True
    )
    trainer = DPOTrainer(
        model=load_model(folder, device="cpu"), ref_model=load_model(folder, device="cpu"), args=arguments,
        processing_class=tokenizer, train_dataset=Dataset.from_list(rows),
    )  # fmt: skip
    theirs = trainer.data_collator(list(trainer.train_dataset))
    ours = collate(tokenize_pairs(source.pairs[:40], tokenizer, max_length=256).pairs, pad_token_id=0)
    assert torch.equal(ours.input_ids, theirs["input_ids"])
    assert torch.equal(ours.completion_mask.long(), theirs["completion_mask"])
    with torch.no_grad():
        expected = torch.cat(trainer.compute_ref_log_probs(trainer.ref_model, theirs))
        found = response_logps(load_model(folder, device="cpu"), ours)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=2e-4)  # float32 sums of hundreds of nats
