"""Tokenized data sets, and checks of those that TRL has tokenized."""

import pytest
from datasets import Dataset

from preflens.errors import InputError
from preflens.language_models.token_limits import TokenLimits
from preflens.training.command.tokenized_data import check_prepared

TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids")


def test_what_trl_has_tokenised_is_checked_as_well():
    rows = Dataset.from_list([{name: [7, 8] for name in TOKENS}])
    check = {"name": "training pairs", "max_length": 9}
    check_prepared(rows, TokenLimits(9, 4), **check)
    check_prepared(None, TokenLimits(9, 4), **check)
    with pytest.raises(InputError, match="Tokenised row 0 of the training pairs: .* knows only 8 tokens"):
        check_prepared(rows, TokenLimits(8, 4), **check)
    with pytest.raises(InputError, match="Tokenised row 0 of the training pairs has 4 tokens"):
        check_prepared({"all": rows}, TokenLimits(9, 3), **check)
    with pytest.raises(InputError, match="No usable pair is left of the training pairs: all prompts fill.*is 9 tokens"):
        check_prepared(rows.select([]), TokenLimits(9, 4), **check)
