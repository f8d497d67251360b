# Two commands do everything on a fresh machine: `make check` and `make test`. Both set up their own environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
export OMP_NUM_THREADS = 1

.PHONY: check test lint types layers bench race clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23.1"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# The main job: every theorem is attacked, and a report is written to build/proofs_check.
check: $(VENV)/installed
	$(BIN)/python -m pytest proofs_check -n $(WORKERS) -q

test: $(VENV)/installed
	$(BIN)/python -m pytest tests -n $(WORKERS) -q --benchmark-disable
	$(BIN)/python -m pytest proofs_check -n $(WORKERS) -q

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/deptry .

types: $(VENV)/installed
	$(BIN)/mypy

layers: $(VENV)/installed
	$(BIN)/lint-imports

# Benchmarks compare commands side by side in one run; they are never part of the tests.
bench: $(VENV)/installed
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only -p no:xdist

# The race of our solvers against torchdeq, jaxopt and scipy to the same true error, on one core; several minutes.
race: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable ".[peers]"
	$(BIN)/python -W ignore -m tests.benchmarks.solvers.race --recorded

clean:
	rm -rf $(VENV) build .pytest_cache .hypothesis .mypy_cache .ruff_cache
