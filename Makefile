# Two commands matter: `make run` and `make test`. Both need only Python 3.11 or later with venv, and make.
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
# Several tests at once: `make test WORKERS=0` runs them in one process.
WORKERS ?= auto
AT_ONCE = -n $(WORKERS) --maxprocesses 4 --no-loadscope-reorder
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

# python3 where it is new enough, else the newest that has a name of its own.
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
  "$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$python" && break; done)
endif

.PHONY: run test bench faults mutants lint types imports fmt docs lock check unit clean

run: $(VENV)/.runtime
	$(BIN)/tidewaiter run

test: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest $(AT_ONCE) $(PYTEST_ARGS)

unit: $(VENV)/.development
	$(BIN)/pytest $(AT_ONCE) tests/unit tests/contract $(PYTEST_ARGS)

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.development
	$(BIN)/mypy

imports: $(VENV)/.development
	$(BIN)/lint-imports

fmt: $(VENV)/.development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Pages that are made from the code; a test says when one is old.
docs: $(VENV)/.development
	$(BIN)/tidewaiter parsers list --markdown > deploy/formats.md.new
	@mv deploy/formats.md.new deploy/formats.md
	$(BIN)/tidewaiter config reference > deploy/configuration.md.new
	@mv deploy/configuration.md.new deploy/configuration.md
	$(BIN)/tidewaiter rules list --markdown pipelines/rules > deploy/rules-pack.md.new
	@mv deploy/rules-pack.md.new deploy/rules-pack.md

bench: $(VENV)/.development
	$(BIN)/python tests/bench/run.py $(BENCH_ARGS)

# N seeded runs of the fault harness, from SEED on: `make faults N=1 SEED=…` plays a run again.
faults: $(VENV)/.development
	$(BIN)/python tests/fault/faults.py $(if $(N),--runs $(N)) $(if $(SEED),--seed $(SEED))

# The product without one guard at a time (tests/fault/mutants/*.patch): each turns a test red. `make mutants ONLY=name`.
mutants: $(VENV)/.development
	$(BIN)/python tests/fault/mutants.py $(if $(ONLY),--only $(ONLY)) $(MUTANTS_ARGS)

check: $(VENV)/.runtime
	$(BIN)/tidewaiter check

# Compiled for every supported Python and machine; needs uv, which the development environment has.
lock: $(VENV)/.development
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --output-file requirements/runtime.txt pyproject.toml requirements/build.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --constraint requirements/runtime.txt --output-file requirements/development.txt \
	  pyproject.toml requirements/build.in requirements/development.in

# Made whole or not at all: a folder that lacks pip would pass for a finished one the next time.
$(VENV)/bin/python:
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	  echo "Tidewaiter needs Python 3.11 or later, and $(or $(PYTHON),python3) is not." >&2; \
	  echo "Install it (apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: apt-get install $(notdir $(PYTHON))-venv" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); exit 2; }

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.development: requirements/development.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/development.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
