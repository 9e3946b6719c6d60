"""A user's mistakes: one clear line that names what is wrong, exit code 2, no traceback, nothing lost."""

import gzip
import json
import os
import shutil

import pytest
import torch

from tests.cases.language_models import tiny_model, tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS, chat_rows
from tests.end_to_end.conftest import write_rows


@pytest.fixture
def refused(preflens, place, tmp_path):
    """Run `analyze` with some arguments changed; it must refuse in one line that matches."""

    def check(*needed, **changes):
        arguments = {"model": place / "model", "data": place / "pairs.jsonl", "out": tmp_path / "out"} | changes
        options = [part for name, value in arguments.items() for part in (f"--{name.replace('_', '-')}", value)]
        code, out, err = preflens("analyze", *options, "--no-progress")
        assert code == 2, (out, err)
        assert "Traceback" not in err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert all(str(n) in err for n in needed), err
        assert not (tmp_path / "out" / "analysis.json").exists()

    return check


def test_missing_file(refused):
    refused("There is no file or folder `nothere.jsonl`", data="nothere.jsonl")


def test_folder_without_a_model(refused, tmp_path):
    refused(tmp_path, "holds no model", "config.json is missing", model=tmp_path)


def test_folder_that_is_not_there(refused, tmp_path):
    refused("There is no folder", "missing", model=tmp_path / "missing")


def test_missing_columns(refused, tmp_path):
    data = write_rows(tmp_path / "x.jsonl", [{"question": "q", "chosen": "c"}])
    refused("x.jsonl`, line 1", "column `rejected` is missing", "Found `chosen`, `question`", data=data)


def test_empty_file(refused, tmp_path):
    (tmp_path / "x.jsonl").touch()
    refused("x.jsonl` is empty", data=tmp_path / "x.jsonl")


def test_cells_that_are_no_text(refused, tmp_path):
    data = write_rows(tmp_path / "x.jsonl", [*TEXT_ROWS, TEXT_ROWS[0] | {"chosen": 12}])
    refused("x.jsonl`, line 7", "`chosen` should be a text", "Found int 12", data=data)


def test_empty_response(refused, tmp_path):
    data = write_rows(tmp_path / "x.jsonl", [TEXT_ROWS[0], TEXT_ROWS[0] | {"rejected": ""}])
    refused("x.jsonl`, line 2", "`rejected` is empty", "--on-bad-row drop", data=data)


def test_all_rows_dropped(refused, tmp_path):
    data = write_rows(tmp_path / "x.jsonl", TEXT_ROWS[-1:])
    refused("No usable pair is left", "1 × prompt fills the maximal length", data=data, max_length=8)


def test_broken_gzip(refused, tmp_path):
    content = gzip.compress(json.dumps(TEXT_ROWS[0]).encode() * 50)
    (tmp_path / "x.jsonl.gz").write_bytes(content[:-20])
    refused("x.jsonl.gz` is not a whole gzip file", data=tmp_path / "x.jsonl.gz")


def test_broken_json(refused, tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps(TEXT_ROWS[0]) + "\n{broken\n")
    refused("x.jsonl`, line 2: not JSON", data=tmp_path / "x.jsonl")


def test_unknown_objective(refused):
    refused("Unknown objective `simp`", "Did you mean `simpo` or `slime`?", objective="simp")


def test_unknown_or_impossible_parameter_of_an_objective(refused):
    refused("Objective `dpo` has no parameter `bet`", "Did you mean `beta`?", objective="dpo:bet=1")
    refused("Parameter `beta` of objective `dpo` should be above 0. Found -1", objective="dpo:beta=-1")
    refused("Parameter `beta` of objective `dpo` should be a number. Found `big`", objective="dpo:beta=big")
    refused("Found no value", objective="dpo:beta")


def test_unwritable_output(refused, tmp_path):
    (tmp_path / "out").write_text("a file is in the way")
    refused("Cannot write to the output folder", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file is in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(refused, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    refused("Cannot write to the output folder")


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_log_prob_that_is_not_finite(refused, tmp_path, poison):
    model = tiny_model("llama", dtype=torch.float32)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] = poison
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    refused("The log-prob of the chosen response of pair `", "is nan", model=tmp_path / "model")


def test_tokenizer_without_padding_and_end_of_sequence(refused, place, tmp_path):
    shutil.copytree(place / "model", tmp_path / "model")
    tokenizer = tiny_tokenizer(pad=None)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path / "model")
    refused(
        "has neither a padding token nor an end-of-sequence token", "tokenizer_config.json", model=tmp_path / "model"
    )


def test_tokenizer_without_padding_pads_with_the_end_of_sequence_as_trl_does(preflens, place, tmp_path):
    shutil.copytree(place / "model", tmp_path / "model")
    tiny_tokenizer(pad=None).save_pretrained(tmp_path / "model")
    options = ["--model", tmp_path / "model", "--data", place / "pairs.jsonl", "--out", tmp_path / "out"]
    code, _, err = preflens("analyze", *options, "--no-progress")
    assert code == 0, err


def test_conversations_without_a_template(refused, place, tmp_path):
    shutil.copytree(place / "model", tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").unlink()
    tiny_tokenizer(chat=False).save_pretrained(tmp_path / "model")
    data = write_rows(tmp_path / "x.jsonl", chat_rows())
    refused("the tokenizer has no chat template", "`--chat-template`", model=tmp_path / "model", data=data)


def test_a_broken_template_is_named(refused, place, tmp_path):
    (tmp_path / "t.jinja").write_text("{% for m in messages %}{{ m['content'] }}")
    changed = {"data": place / "chat.jsonl", "chat_template": tmp_path / "t.jinja"}
    refused("The chat template is none", "endfor", "`--chat-template`", **changed)


def test_impossible_numbers(refused):
    refused("`--micro-batch` should be `auto` or a number of pairs. Found `few`", micro_batch="few")
    refused("`--max-length` should be at least 2", max_length=1)
    refused("`--update-batch-size` should be at least 1", update_batch_size=0)
    refused("`--learning-rate` should be above 0", learning_rate=-1)
    refused("`--learning-rate` should be above 0 and at most 1e+100", "Found 1e+300", learning_rate=1e300)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--learning-rate", "1e300"], "`--learning-rate` should be above 0 and at most 1e+100"),
        (["--probe-fraction", 1], "`--probe-fraction` should be above 0 and below 1"),
        (["--margin-gain", "inf"], "`--margin-gain` should be above 0"),
        (["--grid", "dpo.bet=1"], "`--grid dpo.bet=1`: objective `dpo` has no parameter `bet`"),
        (["--objectives", "simpo", "--verify", "dpo"], "`--verify dpo` is none of the compared objectives"),
        (["--parameters", "xyz"], "`--parameters xyz` chooses no parameter"),
    ],
)
def test_compare_speaks_of_its_options(more, said, preflens, place, tmp_path):
    needed = ["--model", place / "model", "--data", place / "pairs.jsonl", "--out", tmp_path, "--no-progress"]
    code, _, err = preflens("compare", *needed, "--objectives", "dpo", *more)
    assert (code, err.count("\n")) == (2, 1), err
    assert said in err


IN_VAIN = {
    "images": {"images": ["dog.png"]},
    "question": {"question": "why?", "prompt": ...},
    "prompt": {"prompt": []},
    "chosen": {"chosen": "\ud800"},
}


@pytest.mark.parametrize(("name", "change"), IN_VAIN.items(), ids=IN_VAIN)
def test_a_row_that_would_be_read_in_part_or_not_at_all_is_refused_or_dropped(
    name, change, refused, preflens, place, tmp_path
):
    row = {key: value for key, value in (TEXT_ROWS[0] | change).items() if value is not ...}
    data = write_rows(tmp_path / "x.jsonl", [*TEXT_ROWS, row])
    refused("x.jsonl`, line 7: ", f"`{name}`", "`--on-bad-row drop`", data=data)
    arguments = ["--model", place / "model", "--data", data, "--out", tmp_path / "out", "--no-progress"]
    code, told, err = preflens("analyze", *arguments, "--on-bad-row", "drop")
    assert code == 0, err
    assert "dropped: 1 × bad row, the first is `" in told
    assert "x.jsonl`, line 7: " in told


def test_a_row_that_the_template_refuses_is_refused_or_dropped(refused, preflens, place, tmp_path):
    (tmp_path / "t.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
        "{{ m.content }}{% endfor %}"
    )
    rows = chat_rows()
    rows[2] = rows[2] | {"prompt": [{"role": "system", "content": "be brief"}]}
    data = write_rows(tmp_path / "x.jsonl", rows)
    said = "x.jsonl`, line 3: the chat template fails on it: no system here."
    refused(said, "`--on-bad-row drop`", data=data, chat_template=tmp_path / "t.jinja")
    more = ["--data", data, "--chat-template", tmp_path / "t.jinja", "--on-bad-row", "drop", "--no-progress"]
    code, told, err = preflens("analyze", "--model", place / "model", "--out", tmp_path / "out", *more)
    assert code == 0, err
    assert "5 pairs" in told
    assert said.rstrip(".") in told


def test_one_object_over_several_lines(refused, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(TEXT_ROWS[0], indent=1))
    refused("x.json`, line 1: a JSON object over several lines. Expected an array, or", data=tmp_path / "x.json")


def test_reference_that_is_needed_or_missing(refused):
    refused("Objective `dpo` compares with a reference model", reference="none")
    refused("`--reference adapter-off` needs a model with an adapter", reference="adapter-off")


def test_an_adapter_given_as_a_model(refused, place):
    adapter = place / "adapter"
    refused(f"`{adapter}` holds an adapter, not a whole model", f"`--adapter {adapter}`", model=adapter)


def test_an_adapter_of_another_model(refused, place, tmp_path):
    for name, changes in {"deeper": {"num_hidden_layers": 3}, "wider": {"hidden_size": 32}}.items():
        tiny_model("llama", dtype=torch.float32, **changes).save_pretrained(tmp_path / name)
        tiny_tokenizer().save_pretrained(tmp_path / name)
    adapter = place / "adapter"
    refused(f"`{adapter}` does not belong to this model", "layers.2.", model=tmp_path / "deeper", adapter=adapter)
    refused(f"`{adapter}` cannot be loaded on this model: size mismatch for", model=tmp_path / "wider", adapter=adapter)


@pytest.mark.parametrize("what", ["model", "adapter"])
def test_truncated_weights(refused, place, tmp_path, what):
    shutil.copytree(place / what, tmp_path / "cut")
    (file,) = (tmp_path / "cut").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:3000])
    refused(f"The {what} `{tmp_path / 'cut'}` cannot be loaded", **{what: tmp_path / "cut"})


def test_regular_expression_that_chooses_nothing(refused):
    refused("`--parameters xyz` chooses no parameter", "model.embed_tokens.weight", parameters="xyz")


def test_an_earlier_result_survives_a_mistake(preflens, place, tmp_path):
    arguments = ["analyze", "--model", place / "model", "--data", place / "pairs.jsonl", "--out", tmp_path / "out"]
    assert preflens(*arguments, "--no-progress")[0] == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert preflens(*arguments, "--objective", "nonsense")[0] == 2
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
