PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format tables golden clean

demo: .venv/demo-ready ## 8 masks, 200 images, two methods, a table and a picture
	$(BIN)/fewmask demo --out demo

test: .venv/test-ready ## everything that must hold before a change lands
	$(MAKE) check

check:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

tables: .venv/test-ready ## the tables of the methods in README and docs, from the methods
	$(BIN)/python docs/tables.py

golden: .venv/test-ready ## records the first losses of a method that has no golden file yet
	$(BIN)/pytest tests/methods/test_contract.py -k golden --write-golden

format: .venv/test-ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv demo build

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fewmask needs Python 3.11 or newer: make PYTHON=python3.12 demo"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/demo-ready: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/test-ready: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@
