"""Rows in files, and as token ids of the tiny tokenizer."""

import json

from preflens.language_models.reading import pairs_in_memory
from preflens.language_models.tokenizing import tokenize_pairs
from tests.cases.language_models import tiny_tokenizer
from tests.cases.pairs import TEXT_ROWS


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tokenized(rows=TEXT_ROWS):
    return list(tokenize_pairs(pairs_in_memory(rows).pairs, tiny_tokenizer(), max_length=48).pairs)
