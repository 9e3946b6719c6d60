"""The pairs of a run: read, tokenised, held out, and refused where they do not fit."""

import pytest

from preflens.errors import InputError
from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.token_limits import TokenLimits
from preflens.language_models.tokenizing import tokenize_pairs
from preflens.training.command.configuration import read_configuration
from preflens.training.command.data import as_chat, run_data
from tests.cases.language_models import tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS, chat_rows
from tests.end_to_end.conftest import write_rows

ROOM = TokenLimits(320, 96)
TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids")


@pytest.fixture
def data(tmp_path):
    """Read the data of a run over these rows, with flags."""

    def read(*flags, rows=TEXT_ROWS, room=ROOM):
        given = ["--output_dir", tmp_path, "--data", write_rows(tmp_path / "pairs.jsonl", rows), *flags]
        return run_data(read_configuration([str(flag) for flag in given]), tiny_tokenizer(), room)

    return read


def test_rows_are_tokenised_and_keep_their_ids(data):
    expected = tokenize_pairs(pairs_in_memory(TEXT_ROWS).pairs, tiny_tokenizer(), max_length=1024).pairs
    found = data().train
    assert found["id"] == [row["id"] for row in TEXT_ROWS]
    assert found["source_row"] == list(range(len(TEXT_ROWS)))
    assert [[tuple(row[name]) for name in TOKENS] for row in found] == [
        [getattr(pair, name) for name in TOKENS] for pair in expected
    ]


def test_texts_become_turns():
    (pair,) = pairs_in_memory(TEXT_ROWS[:1]).pairs
    made = as_chat(pair)
    assert made.prompt == [{"role": "user", "content": "the sky is"}]
    assert made.rejected == [{"role": "assistant", "content": "green"}]
    assert as_chat(made) is made


def test_texts_beside_messages_are_refused(data):
    with pytest.raises(InputError, match=r"Some pairs are texts and some messages.*`as_chat`"):
        data(rows=[TEXT_ROWS[0], chat_rows()[1]])


def test_a_share_is_held_out_by_seed_and_nothing_is_lost(data):
    found = data("--eval_fraction", "0.3", "--seed", "5")
    assert len(found.held_out) == 2
    assert sorted([*found.train["id"], *found.held_out["id"]]) == sorted(row["id"] for row in TEXT_ROWS)
    assert all(TEXT_ROWS[row["source_row"]]["id"] == row["id"] for row in [*found.train, *found.held_out])
    assert data("--eval_fraction", "0.3", "--seed", "5").held_out.to_list() == found.held_out.to_list()


def test_samples_and_a_file_of_held_out_pairs(data, tmp_path):
    other = write_rows(tmp_path / "other.jsonl", TEXT_ROWS[:3])
    found = data("--limit", "4", "--eval_data", other, "--eval_limit", "2", "--as_chat")
    assert (len(found.train), len(found.held_out)) == (4, 2)
    assert tiny_tokenizer().decode(found.train[0]["prompt_ids"]).startswith("<user>")


def test_everything_is_trained_on_unless_told_otherwise(data):
    found = data()
    assert (len(found.train), found.held_out, found.probe, found.constraints) == (len(TEXT_ROWS), None, 32, None)


def test_pairs_that_are_watched_are_read_like_those_that_are_trained_on(data, tmp_path):
    other = write_rows(tmp_path / "other.jsonl", [*TEXT_ROWS[:3], {"chosen": 3}])
    flags = ["--as_chat", "--on_bad_row", "drop", "--objective", "dpo", "--mitigation", "cone"]
    found = data("--probe_pairs", other, "--mitigation_probe", other, *flags)
    for source in (found.probe, found.constraints):
        assert [pair.id for pair in source.pairs] == ["sky", "dogs", "say"]
        assert source.pairs[0].prompt == [{"role": "user", "content": "the sky is"}]
    assert data("--probe_pairs", tmp_path / "none.jsonl", "--probe_every", 0).probe == 0
    short = [{"prompt": "a", "chosen": "b", "rejected": "c"}]
    with pytest.raises(InputError, match="other.jsonl`, line 1 has 10 tokens"):
        data("--probe_pairs", other, "--on_bad_row", "drop", rows=short, room=TokenLimits(None, 8))


def test_rows_that_are_left_out_or_special_are_counted(data, caplog):
    found = data("--on_bad_row", "drop", "--max_length", "13", rows=[*TEXT_ROWS, {"prompt": "a", "chosen": "b"}])
    assert found.train["id"] == [row["id"] for row in TEXT_ROWS[:5]]
    assert "1 of 7 rows left out (bad row, the first is `" in caplog.text
    assert "line 7: column `rejected` is missing" in caplog.text
    assert "training pairs: 1 of 6 rows left out (prompt fills the maximal length)" in caplog.text
    assert "training pairs: 1 of 6 rows noted (identical responses)" in caplog.text


def test_hidden_characters_are_spelt_out_in_what_is_said(data, caplog):
    data("--on_bad_row", "drop", rows=[*TEXT_ROWS, {"prompt": "a", "ch\u202eosen": "\x1b[2J"}])
    assert "`ch<U+202E>osen`" in caplog.text
    assert "\u202e" not in caplog.text


def test_nothing_left_to_train_on_is_refused(data):
    with pytest.raises(InputError, match="`eval_fraction` leaves nothing of 6 pairs"):
        data("--eval_fraction", "0.95")


@pytest.mark.parametrize("what", ["training", "held-out"])
def test_an_empty_split_says_how_many_rows_were_dropped_and_why(what, data, tmp_path):
    long = [TEXT_ROWS[-1] | {"id": str(n)} for n in range(3)]
    other = write_rows(tmp_path / "other.jsonl", TEXT_ROWS[:2] if what == "training" else long)
    with pytest.raises(
        InputError, match=f"of the {what} pairs: 3 × prompt fills the maximal length. `max_length` is 9 tokens"
    ) as caught:
        data("--eval_data", other, "--max_length", "9", rows=long if what == "training" else TEXT_ROWS[:2])
    assert caught.value.arguments == ("max_length",)


def test_rows_that_the_model_has_no_room_for_are_named(data):
    with pytest.raises(InputError, match="pairs.jsonl`, line 1: .* the model knows only 100 tokens"):
        data(room=TokenLimits(100, None))
    with pytest.raises(InputError, match="pairs.jsonl`, line 1 has 10 tokens.*`max_length=8`"):
        data(room=TokenLimits(None, 8))
    assert len(data("--max_length", "8", room=TokenLimits(None, 8)).train) == 5


def test_a_data_set_that_trl_cannot_load_is_refused(tmp_path):
    flags = ["--output_dir", str(tmp_path), "--dataset_name", str(tmp_path / "nothere")]
    with pytest.raises(InputError, match=r"cannot be read: .*`--data`"):
        run_data(read_configuration(flags), tiny_tokenizer(), ROOM)
