# The two commands that set everything up are `make quickstart` and `make test`.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: quickstart test test-all lint docs clean

quickstart: .venv/quickstart
	$(BIN)/autocompress search search_spaces/quickstart.yaml

test: .venv/dev
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile --no-loadscope-reorder

test-all: .venv/dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build
	@echo "The documentation is in docs/_build/index.html"

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/quickstart: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[quickstart]'
	touch $@

.venv/dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/quickstart

.venv/docs: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv docs/_build
