# Two commands do everything: `make demo` (the main job on simulated data) and `make test` (the tests).
# Both first create or update .venv with the pinned versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow test-real test-gpu lint install clean

demo: install
	$(BIN)/chromtransfer demo --out demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile  # two files at a time

test-slow: install
	$(BIN)/python -m pytest -m slow

test-real: install
	$(BIN)/python -m pytest -m real_data

test-gpu: install
	$(BIN)/python -m pytest -m gpu

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(INSTALLED)

$(INSTALLED): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"Python 3.11 or 3.12 is needed, $(PYTHON) is {v[0]}.{v[1]}. Name another one: make PYTHON=python3.12 ...")'
	@echo "Setting up $(VENV): the versions pinned in constraints.txt (a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@echo "Installing selene-sdk without its dependencies: its torch<=2.3.1 cap would break tangermeme"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps selene-sdk==0.6.0
	@touch $(INSTALLED)

clean:
	rm -rf $(VENV) demo build dist
