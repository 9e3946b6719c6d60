# make demo: a fresh machine to a report.  make check: a few minutes, before each commit.  make test: everything that must
# hold.  make bench: costs.  make mutants: whether tests notice what a careless change could break.
PYTHON ?= python3
VENV := .venv
PROCESSES ?= 3
BIN := $(VENV)/bin
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo check test title lint types coverage mutants bench clean

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) -e '.[dev]'
	touch $@

demo: $(VENV)/.core
	$(BIN)/preflens demo

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

test: $(VENV)/.dev lint types
	$(BIN)/python -m pytest -n auto --doctest-modules src tests

check: $(VENV)/.dev title lint types
	$(BIN)/python -m pytest -n auto -m fast tests

# The title of the last commit: 72 characters at most, `area: Sentence`.
title:
	@git log -1 --format=%s 2>/dev/null | awk 'length > 72 { print "The title of the last commit has " length " characters; 72 are the limit: " $$0; exit 1 }'

coverage: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --doctest-modules --cov=preflens --cov-branch --cov-report=term src tests/unit tests/laws

mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants --jobs 2

bench: $(VENV)/.dev
	for script in benchmarks/*.py; do \
		PYTHONPATH=. $(BIN)/python -W ignore $$script --processes $(PROCESSES) | tee benchmarks/results/$$(basename $$script .py).jsonl || exit 1; \
	done

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
