# make demo: a fresh machine to a report.  make test: everything that must hold.  make bench: costs.
# make mutants: whether tests notice what a careless change could break.
PYTHON ?= python3
VENV := .venv
PROCESSES ?= 3
BIN := $(VENV)/bin
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint types mutants bench clean

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

mutants: $(VENV)/.dev
	$(BIN)/python -m tests.mutants --jobs 2

bench: $(VENV)/.dev
	for script in benchmarks/*.py; do \
		PYTHONPATH=. $(BIN)/python -W ignore $$script --processes $(PROCESSES) | tee benchmarks/results/$$(basename $$script .py).jsonl || exit 1; \
	done

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
