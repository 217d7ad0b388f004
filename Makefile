# Thin targets over the modules that do the work. Everything is installed into .venv.
PYTHON ?= python3
PROFILE ?= default
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup weights serve demo bench test lint clean

setup: $(STAMP)

$(STAMP): pyproject.toml client/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e client -e '.[dev]'
	touch $@

weights: setup
	$(BIN)/python -m export get $(PROFILE)

serve: weights
	$(BIN)/python -m tritalk.server

demo: weights
	$(BIN)/python -m benchmarks.demo

bench: weights
	$(BIN)/python -m benchmarks.bench

test: weights lint
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv out
