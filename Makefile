# Everything runs from .venv, which `make setup` makes; nothing is installed outside it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: faults setup demo test check bench-streams bench-intake audit clean

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Sunledger needs Python 3.11 or newer; PYTHON=$(PYTHON) is $$($(PYTHON) --version 2>&1)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "the venv could not be made; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --progress-bar on --group dev --editable .
	@touch $@

demo: setup
	$(BIN)/sunledger demo

test: setup
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The long run of the fault harness; a failing seed is named and replays with FIRST_SEED.
SEEDS ?= 1
FIRST_SEED ?= 1
RATE ?= 2000
faults: setup
	$(BIN)/python -m tests.faults.harness --seeds $(SEEDS) --first $(FIRST_SEED) --rate $(RATE)

bench-streams: setup
	$(BIN)/python -m bench.streams

bench-intake: setup
	$(BIN)/python -m bench.intake

# Asks a database on the network, so it is no part of check; exit code 2 means that it could not be asked.
audit: setup
	$(BIN)/python .ci/audit.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
