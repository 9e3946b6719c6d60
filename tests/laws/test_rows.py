"""One reading of rows: `train`, `analyze` and TRL make the same token ids of the same file."""

import gzip
import itertools
import json
from pathlib import Path

import datasets
import pytest
import torch
import trl
from transformers import AutoTokenizer

from preflens.analysis.measurement.update_batches import sample_pairs
from preflens.language_models.batch import collate
from preflens.language_models.loading import padding_token_id
from preflens.language_models.reading import read_pairs
from preflens.training.command.configuration import read_configuration
from preflens.training.command.main import make_trainer
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.support.rows import write_rows

# Shows every key of a message and of its calls, as templates for tools do, and parts of content.
TEMPLATE = (
    "{% if tools %}<tools>{{ tools | tojson }}{% endif %}"
    "{% if enable_thinking is defined %}<{{ enable_thinking }}>{% endif %}"
    "{% for m in messages %}<{{ m['role'] }}>"
    "{% if m.content is string %}{{ m.content }}{% elif m.content %}{% for p in m.content %}{{ p.text }}{% endfor %}"
    "{% endif %}{% for k in m if k not in ('role', 'content') %}<{{ k }}>{{ m[k] | tojson }}{% endfor %}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
TEMPLATES = {
    "every key": TEMPLATE,
    "TRL's of Qwen3": (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8"),
}


def said(role, content, **more):
    return {"role": role, "content": content, **more}


def call(name, **arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def tool(name, **kinds):
    properties = {key: {"type": kind} for key, kind in kinds.items()}
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


def row(prompt, chosen, rejected, **more):
    sides = {"chosen": [said("assistant", chosen)], "rejected": [said("assistant", rejected)]}
    return {"prompt": prompt if isinstance(prompt, list) else [said("user", prompt)], **sides, **more}


TOOLS = [tool("add", a="integer", b="integer"), tool("weather", city="string")]
SUM = [said("user", "one and two?"), said("assistant", "", tool_calls=[call("add", a=1, b=2)]),
       said("tool", "3", name="add")]  # fmt: skip
RAIN = [said("user", "rain in Oslo?"), said("assistant", "", tool_calls=[call("weather", city="Oslo")]),
        said("tool", "no")]  # fmt: skip


def answers(**content):
    """Two calls of a tool, the wrong one with another argument."""
    sides = ({"role": "assistant", **content, "tool_calls": [call("add", a=1, b=b)]} for b in (2, 3))
    return dict(zip(("chosen", "rejected"), ([side] for side in sides), strict=True))


ROWS = {
    "calls with different arguments": [row(SUM, "It is 3.", "It is 4.", tools=TOOLS),
                                       row(RAIN, "No.", "Yes.", tools=TOOLS)],
    "tools of some rows only": [row("hi", "hello", "no"), row(RAIN, "No.", "Yes.", tools=TOOLS)],
    "tools as JSON": [row(RAIN, "No.", "Yes.", tools=json.dumps(TOOLS))],
    "messages with different keys": [
        row([said("system", "short", weight=1), said("user", "hi", name="ann")], "hello", "no"),
        row([said("user", "and you?"), said("assistant", "fine", reasoning_content="hm")], "yes", "no"),
    ],
    "arguments of the template": [
        row("hi", "hello", "no", chat_template_kwargs={"enable_thinking": False}),
        row("ho", "hello", "no", chat_template_kwargs={"enable_thinking": True, "depth": 3}),
    ],
    "content as parts": [row([said("user", [{"type": "text", "text": "hi "}, {"type": "text", "text": "you"}])],
                             [{"type": "text", "text": "hello"}], [{"type": "text", "text": "no"}])],
    "content as parts and as text": [row([said("user", [{"type": "text", "text": "hi"}])], "hello", "no"),
                                     row("ho", "hello", "no")],
    "answers that call, content null": [row("one and two?", "", "", tools=TOOLS) | answers(content=None)],
    "answers that call, content empty": [row("one and two?", "", "", tools=TOOLS) | answers(content="")],
    "answers that call, no content": [row("one and two?", "", "", tools=TOOLS) | answers()],
    "answers that call and answers that speak": [row("one and two?", "", "", tools=TOOLS) | answers(content=None),
                                                 row("hi", "hello", "no", tools=TOOLS)],
    "prompts within the responses": [
        {"chosen": [*RAIN, said("assistant", "No.")], "rejected": [*RAIN, said("assistant", "Yes.")]},
        {"chosen": [*SUM, said("assistant", "It is 3.")], "rejected": [*SUM, said("assistant", "4", refusal=True)]},
    ],
}  # fmt: skip


def save_model(folder, tokenizer, **changes):
    tiny_model("llama", dtype=torch.float32, vocab_size=len(tokenizer), max_position_embeddings=8192).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=TEMPLATES)
def model(request, tmp_path_factory):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATES[request.param]
    return save_model(tmp_path_factory.mktemp("model"), tokenizer)


def flags(model, data, out, *more):
    given = [
        "--model",
        model,
        "--data",
        data,
        "--output_dir",
        out,
        "--samples",
        0,
        "--probe_every",
        0,
        "--report_to",
        "none",
    ]
    return [str(part) for part in (*given, *more)]


def of_train(model, data, out, *more):
    """What `preflens train` would train on."""
    trainer = make_trainer(read_configuration(flags(model, data, out, *more)))
    return trainer.data_collator(list(trainer.train_dataset)), trainer


def of_analyze(model, data, *, max_length):
    """What `analyze` and `compare` look at."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    _, pairs = sample_pairs(read_pairs(data), tokenizer, max_length=max_length, limit=None, seed=0)
    return collate(pairs, pad_token_id=padding_token_id(tokenizer))


def of_trl(trainer, data, cache):
    """What TRL makes of the file as `datasets` loads it."""
    rows = datasets.load_dataset("json", data_files=str(data), split="train", cache_dir=str(cache))
    made = trl.DPOTrainer._prepare_dataset(trainer, rows, trainer.processing_class, trainer.args, "train")
    return trainer.data_collator(list(made))


def same(found, expected):
    assert torch.equal(found["input_ids"], expected["input_ids"])
    assert torch.equal(found["completion_mask"].long(), expected["completion_mask"].long())


@pytest.mark.parametrize("kind", ROWS)
def test_token_ids_of_train_and_analyze_are_those_of_trl_on_the_file(kind, model, tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", ROWS[kind])
    train, trainer = of_train(model, data, tmp_path / "out")
    trls = of_trl(trainer, data, tmp_path / "cache")
    assert len(trls["input_ids"]) == 2 * len(ROWS[kind])
    same(train, trls)
    same(vars(of_analyze(model, data, max_length=1024)), trls)


@pytest.mark.parametrize("kind", ROWS)
def test_a_table_that_datasets_saved_is_read_like_the_file_it_is_from(kind, model, tmp_path):
    data = write_rows(tmp_path / "rows.jsonl", ROWS[kind])
    table = datasets.load_dataset("json", data_files=str(data), split="train", cache_dir=str(tmp_path / "cache"))
    table.to_parquet(tmp_path / "rows.parquet")
    table.save_to_disk(tmp_path / "saved")
    expected = vars(of_analyze(model, data, max_length=1024))
    same(vars(of_analyze(model, tmp_path / "rows.parquet", max_length=1024)), expected)
    same(vars(of_analyze(model, tmp_path / "saved", max_length=1024)), expected)


def test_an_argument_of_the_template_that_one_row_has_does_not_reach_the_others(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    model = save_model(tmp_path / "model", tokenizer)
    rows = [row("hi", "hello", "no"), row("ho", "hello", "no", chat_template_kwargs={"enable_thinking": False})]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    train, trainer = of_train(model, data, tmp_path / "out")
    same(train, vars(of_analyze(model, data, max_length=1024)))
    texts = [tokenizer.decode(ids["prompt_ids"]) for ids in trainer.train_dataset]
    assert texts == ["<user>hi</s><assistant>", "<False><user>ho</s><assistant>"]


def test_values_that_datasets_turns_into_others_stay_as_they_are_in_the_file(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    model = save_model(tmp_path / "model", tokenizer)
    rows = [row([said("assistant", "", tool_calls=[call("add", a=a)])], "yes", "no") for a in (2, 2.5)]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    train, trainer = of_train(model, data, tmp_path / "out")
    same(train, vars(of_analyze(model, data, max_length=1024)))
    texts = [tokenizer.decode(ids["prompt_ids"]) for ids in trainer.train_dataset]
    assert '"arguments": {"a": 2}' in texts[0]
    assert '"arguments": {"a": 2.0}' in tokenizer.decode(of_trl(trainer, data, tmp_path / "cache")["input_ids"][0])


@pytest.mark.filterwarnings("ignore:The `'keep_end'` truncation mode is deprecated:FutureWarning")
@pytest.mark.parametrize("cut", [[], ["--truncation_mode", "keep_end"]], ids=["start kept", "end kept"])
def test_train_cuts_and_drops_rows_where_trl_does(cut, tmp_path):
    model = save_model(tmp_path / "model", tiny_tokenizer())
    rows = [{"prompt": "the sky " * n, "chosen": " is blue" * 9, "rejected": " green"} for n in (1, 5, 30)]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    train, trainer = of_train(model, data, tmp_path / "out", "--max_length", 24, *cut)
    trls = of_trl(trainer, data, tmp_path / "cache")
    assert len(trls["input_ids"]) == (6 if cut else 4)
    same(train, trls)


SHARED = Path("data") / "preference"
SETS = (
    "dpo_mix_en", "dpo_mix_zh", "hh_harmless", "hh_helpful", "hhh", "pandalm_human", "persona_yesno", "polite_edits",
    "tldr", "tulu_human", "tweets_long", "tweets_short", "tweets_token", "ultrafeedback",
)  # fmt: skip
FEW, LONGEST = 6, 4000


@pytest.fixture(scope="module")
def real_models(real_data, tmp_path_factory):
    """For texts the tokenizer of the small real model, for conversations GPT-2's with a template of TRL's."""
    chat = AutoTokenizer.from_pretrained(real_data / "models" / "gpt2-tokenizer")
    chat.chat_template = TEMPLATES["TRL's of Qwen3"]
    plain = AutoTokenizer.from_pretrained(real_data / "models" / "stories260k")
    tokenizers = {"": plain, ".chat": chat}
    return {form: save_model(tmp_path_factory.mktemp("real"), tokenizer) for form, tokenizer in tokenizers.items()}


@pytest.mark.real_data
@pytest.mark.parametrize("form", ["", ".chat"], ids=["texts", "messages"])
@pytest.mark.parametrize("name", SETS)
def test_token_ids_of_real_rows_are_those_of_trl(name, form, real_data, real_models, tmp_path):
    found = sorted((real_data / SHARED).glob(f"{name}.*{form}.jsonl.gz"))
    files = [path for path in found if (".chat" in path.name) == bool(form)]
    if not files:
        pytest.skip(f"{name} has no {form or 'plain'} form")
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            data = tmp_path / path.name.removesuffix(".gz")
            data.write_text("".join(itertools.islice(lines, FEW)), encoding="utf-8")
        train, trainer = of_train(real_models[form], data, tmp_path / "out", "--max_length", LONGEST)
        trls = of_trl(trainer, data, tmp_path / "cache")
        assert len(trls["input_ids"]) >= 2
        same(train, trls)
        same(vars(of_analyze(real_models[form], data, max_length=LONGEST)), trls)


@pytest.mark.real_data
def test_the_sets_above_are_all_that_there_are(real_data):
    assert {path.name.split(".")[0] for path in (real_data / SHARED).glob("*.jsonl.gz")} == set(SETS)
