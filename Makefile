PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= auto
T ?= tests

# Processes that share the tests: one per core, and each computes with one thread (tests/conftest.py).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses=$(WORKERS) --maxprocesses=8 --dist=worksteal
FAST := tests/ops tests/models tests/data tests/methods/test_contract.py

.PHONY: demo test fast test-one check lint types imports pages tests fast-tests tables golden docs format clean

demo: .venv/demo-ready ## 8 masks of the day, 200 photos from dusk to night, two networks, a table and a picture
	$(BIN)/fewmask demo --out demo

test: .venv/test-ready ## everything that must hold before a change lands
	$(MAKE) check

fast: .venv/test-ready ## while writing: lint, and the tests of ops, models, data and the contract of the methods
	$(MAKE) --jobs=2 lint imports fast-tests

test-one: .venv/test-ready ## any selection of pytest: make test-one T=tests/ops/test_mix.py
	$(BIN)/pytest $(T)

check:
	$(MAKE) --jobs=2 lint types imports pages tests

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

pages:
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs

tests:
	$(PYTEST)

fast-tests:
	$(PYTEST) -m "not slow and not distributed" $(FAST)

tables: .venv/test-ready ## the tables of the methods in README and docs, and what `fewmask settings` prints
	$(BIN)/python docs/tables.py

golden: .venv/test-ready ## records the first losses of a method that has no golden file yet
	$(BIN)/pytest tests/methods/test_contract.py -k golden --write-golden

docs: .venv/test-ready pages ## the documentation as a site, in build/docs/index.html; a broken link is an error

format: .venv/test-ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo build

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fewmask needs Python 3.11 or newer: make PYTHON=python3.12 demo"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/demo-ready: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[demo]'
	touch $@

.venv/test-ready: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
