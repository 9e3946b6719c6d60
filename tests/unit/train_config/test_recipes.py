"""Recipes parse as they are, name their source, and hold the paper's settings."""

import pytest

from preflens.errors import InputError
from preflens.objectives.parse import parse_objective
from preflens.train_config.recipes import RECIPES, recipe_text
from preflens.training.command.configuration import read_configuration
from preflens.training.command.launch import launcher_arguments
from preflens.training.command.validation import check_configuration


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_configuration_with_sources(name):
    found = read_configuration(["--recipe", name])
    assert found.launcher_flags == ()
    assert found.script_flags == ("--recipe", name)
    assert found.run.learning_rate == 5e-6
    assert found.run.num_train_epochs == 1
    assert found.run.eval_strategy == "steps"
    assert found.run.output_dir == name
    parse_objective(found.options.objective)
    assert "arXiv 2410.13828" in recipe_text(name)
    assert launcher_arguments(found).training_script_args == ["--recipe", name]
    if name != "sentiment":
        check_configuration(found)  # hub ids pass


def test_the_summaries_recipe_holds_the_settings_of_the_paper():
    found = read_configuration(["--recipe", "tldr-lora"])
    lora = found.model
    assert (lora.use_peft, lora.lora_r, lora.lora_alpha, lora.lora_dropout) == (True, 64, 128, 0.05)
    assert lora.lora_target_modules == ["q_proj", "k_proj", "v_proj"]
    assert found.options.objective == "dpo:beta=0.1"
    run = found.run
    assert run.per_device_train_batch_size * run.gradient_accumulation_steps == 16
    assert (run.warmup_steps, run.eval_steps, run.save_steps, run.max_length) == (0.1, 200, 400, 512)
    assert (found.options.eval_limit, found.options.as_chat) == (2048, True)


def test_the_pairs_of_the_sentiment_recipe_are_for_the_reader_to_make():
    with pytest.raises(InputError, match=r"There is no file or folder `sentiment-long-suffix.train.jsonl`"):
        check_configuration(read_configuration(["--recipe", "sentiment"]))


def test_a_configuration_and_flags_win_over_a_recipe(tmp_path):
    (tmp_path / "c.yaml").write_text("eval_steps: 7\nsave_steps: 8\n")
    config = ["--config", str(tmp_path / "c.yaml")]
    found = read_configuration([*config, "--recipe", "tldr-lora", "--save_steps", "9"])
    assert (found.run.logging_steps, found.run.eval_steps, found.run.save_steps) == (10, 7, 9)


def test_an_unknown_recipe_is_refused():
    with pytest.raises(InputError, match="There is no recipe `tldr`. There are `tldr-lora`"):
        recipe_text("tldr")
