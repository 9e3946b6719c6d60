"""Mistakes in the data of `preflens train`: one line that names the row, exit code 2, and nothing trained on."""

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from preflens.training.command.main import run_process as run_script
from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS, chat_rows
from tests.end_to_end.conftest import write_rows

ROWS = TEXT_ROWS[:4]
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
SYSTEM = chat_rows(ROWS)
SYSTEM[1] = SYSTEM[1] | {"prompt": [{"role": "system", "content": "be brief"}, *SYSTEM[1]["prompt"]]}


@pytest.fixture
def train(place, tmp_path, capsys, caplog, monkeypatch):
    """Run the script that is launched: exit code, and what it said."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def run(rows, *more, model=None, data="--data"):
        folder = tmp_path / "rows"
        folder.mkdir(exist_ok=True)
        file = write_rows(folder / "train.jsonl", rows)
        where = {"--data": file, "--dataset_name": folder}[data]
        given = ["--model", model or place / "model", data, where, "--output_dir", tmp_path / "out", "--samples", 0,
                 "--max_steps", 1, "--save_strategy", "no", "--disable_tqdm", "true", *more]  # fmt: skip
        code = run_script([str(part) for part in given])
        return code, caplog.text + capsys.readouterr().err

    return run


@pytest.fixture
def refused(train, tmp_path):
    def check(*needed, rows=ROWS, more=(), **changes):
        code, err = train(rows, *more, **changes)
        last = err.splitlines()[-1]
        assert code == 2, err
        assert last.startswith("error: ")
        assert "Traceback" not in err
        assert all(part in last for part in needed), last
        assert not (tmp_path / "out" / "model.safetensors").exists()

    return check


@pytest.fixture
def template(tmp_path):
    (tmp_path / "template.jinja").write_text(NO_SYSTEM)
    return ["--chat_template", tmp_path / "template.jinja"]


def saved(folder, kind="llama", *, tokenizer=None, **changes):
    tiny_model(kind, **changes).float().save_pretrained(folder)
    (tokenizer or tiny_tokenizer()).save_pretrained(folder)
    return folder


def test_a_row_that_the_template_refuses_is_named_or_dropped(refused, train, template):
    said = "train.jsonl`, line 2: the chat template fails on it: no system here.", "`--on_bad_row drop`"
    refused(*said, rows=SYSTEM, more=template)
    code, err = train(SYSTEM, *template, "--on_bad_row", "drop")
    assert code == 0, err
    assert "training pairs: 1 of 4 rows left out (bad row, the first is `" in err
    assert "Pairs: 3 to train on" in err


def test_a_chat_template_can_be_given_as_for_the_other_commands_and_is_saved(train, template, tmp_path):
    model = saved(tmp_path / "plain", tokenizer=tiny_tokenizer(chat=False))
    code, err = train(chat_rows(ROWS), *template, model=model)
    assert code == 0, err
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == NO_SYSTEM


def test_a_chat_template_that_is_not_there_is_named(refused, tmp_path):
    refused("The chat template `", "none.jinja` cannot be read", more=["--chat_template", tmp_path / "none.jinja"])


def test_a_token_that_was_added_without_room_in_the_model_is_named(refused, tmp_path):
    tokenizer = tiny_tokenizer()
    size = len(tokenizer)
    tokenizer.add_tokens(["<tool>"])
    model = saved(tmp_path / "small", tokenizer=tokenizer, vocab_size=size)
    rows = [*ROWS, {"prompt": "one ", "chosen": "<tool>", "rejected": "two"}]
    said = f"produced token {size}, and the model knows only {size} tokens"
    refused("train.jsonl`, line 5: the tokenizer", said, rows=rows, model=model)
    refused("Tokenised row 4 of the training pairs: the tokenizer", said, rows=rows, model=model, data="--dataset_name")


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_row_beyond_the_context_is_named_with_the_option_that_cuts_it(kind, refused, train, tmp_path):
    short = {"gpt2": "n_positions", "llama": "max_position_embeddings"}[kind]
    model = saved(tmp_path / "short", kind, **{short: 8})
    said = "has 10 tokens, and the model has positions for 8", "`--max_length 8`"
    refused("train.jsonl`, line 1", *said, model=model)
    refused("Tokenised row 0 of the training pairs", *said, model=model, data="--dataset_name")
    code, err = train(ROWS, "--max-length", 8, model=model)
    assert code == 0, err


def test_an_empty_split_says_how_many_rows_were_dropped_and_why(refused):
    said = "No usable pair is left of the training pairs", "`--max_length` is 2 tokens"
    rows = [row | {"prompt": "the sky over the hill"} for row in ROWS]
    refused(*said, "4 × prompt fills the maximal length", rows=rows, more=["--max_length", 2])
    refused(*said, "all prompts fill the maximal length", rows=rows, more=["--max_length", 2], data="--dataset_name")


OTHER = {
    "images": ({"images": ["dog.png"]}, "column `images` makes this a pair about more than text"),
    "half a character": ({"chosen": "\ud83d"}, "`chosen` holds \\ud83d alone"),
    "a question": ({"question": "why?", "prompt": ...}, "what `question` says would not be read"),
    "a text prompt": ({"chosen": SYSTEM[0]["chosen"], "rejected": SYSTEM[0]["rejected"]}, "do not begin with it"),
    "an empty prompt": (SYSTEM[0] | {"prompt": []}, "`prompt` is an empty list"),
}


@pytest.mark.parametrize(("change", "said"), OTHER.values(), ids=OTHER)
def test_rows_that_no_command_uses_are_refused_here_too(change, said, refused):
    row = {key: value for key, value in (ROWS[0] | change).items() if value is not ...}
    refused("train.jsonl`, line 5: ", said, rows=[*ROWS, row])


def test_images_and_templates_that_fail_are_one_line_where_trl_reads_the_data(refused, template):
    rows = [row | {"images": ["dog.png"]} for row in ROWS]
    refused("The run cannot be set up: The dataset appears to be vision-related", rows=rows, data="--dataset_name")
    refused("The run cannot be set up: no system here", rows=SYSTEM, more=template, data="--dataset_name")


def test_pairs_that_are_watched_are_held_to_the_same(refused, tmp_path):
    other = write_rows(tmp_path / "other.jsonl", [*ROWS, TEXT_ROWS[0] | {"rejected": " "}])
    refused("other.jsonl`, line 5: `rejected` is empty", "`--on_bad_row drop`", more=["--probe_pairs", other])


def test_what_is_hidden_in_a_row_is_spelt_out(refused):
    refused("Found `chosen`, `re<U+202E>␛[2Jjected`", rows=[*ROWS, {"chosen": "a", "re\u202e\x1b[2Jjected": "b"}])


def test_the_launcher_knows_the_option(place, tmp_path):
    from preflens.training.command.configuration import read_configuration

    assert read_configuration(["--output_dir", "out", "--chat-template", "t.jinja"]).options.chat_template == "t.jinja"


def test_a_model_whose_file_lacks_weights_is_refused(refused, tmp_path):
    folder = saved(tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    missing = next(name for name in weights if name.endswith("mlp.up_proj.weight"))
    del weights[missing]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(f"its file has no `{missing}`, where random weights would stand", model=folder)


@pytest.mark.parametrize("rate", ["1e300", "-1", "nan"])
def test_a_learning_rate_that_cannot_be_is_refused(rate, refused):
    refused("`learning_rate` should be from 0 to 1e+100", more=["--learning_rate", rate])


def test_a_split_of_a_file_is_refused(refused):
    refused("is a file and has no split `test`", more=["--eval_split", "test"])
