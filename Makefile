# `make demo` on a machine with only Python 3.11 or 3.12, make and a C compiler sets everything up
# in .venv and runs the demonstration. Nothing is installed outside .venv, except, as root on
# Debian or Ubuntu, the headers that pillow-simd is built with.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two processes: many tests wait for others that they started. The tests of a file share what they
# stand on, so they stay together, and the folders whose tests take longest come first.
TESTS := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
SETUP := scripts/setup.sh scripts/find_python.sh scripts/check_pillow.py

.PHONY: help demo miniature test slow chaos lint types setup clean distclean

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(READY)  ## curate, mix, stream and train on real pictures, on this machine
	$(BIN)/headrace demo

miniature: $(READY)  ## two of the paper's experiments in small, on this machine
	$(BIN)/headrace miniature

test: $(READY)  ## the fast tests
	$(TESTS) -m "not slow"

slow: $(READY)  ## the slow tests: many processes, kills, clusters
	$(TESTS) -m slow

chaos: $(READY)  ## twenty rounds of kills of each kind; writes docs/chaos.md
	$(BIN)/python -m tests.chaos --rounds 20 --log docs/chaos.md

lint: $(READY)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy
	$(BIN)/mypy

setup: $(READY)  ## the environment in .venv (PYTHON=/path/to/python3.12 to choose one)

# The stamp is written last, so a set-up that was cut short is redone.
$(READY): pyproject.toml constraints.txt $(SETUP)
	@VENV=$(VENV) PYTHON=$(PYTHON) scripts/setup.sh

clean:  ## remove caches and build outputs
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## the same, and the environment
	rm -rf $(VENV)
