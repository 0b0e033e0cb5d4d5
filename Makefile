# `make run` and `make test` set up everything on a machine that has Python >= 3.11.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin

.PHONY: run test check clean

run: $(VENV)/installed
	$(BIN)/python run_all.py $(ARGS)

# Two processes, whatever the machine: tests compute on one thread each. A module stays in one of them, with what it sets up.
test: check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadscope $(ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "This project needs Python >= 3.11; name one: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,peers,cluster,translation]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV)
