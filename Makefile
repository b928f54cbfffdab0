# make demo   the main job in miniature: five minutes on two cores, offline once installed
# make test   lint, types and tests
# Both make .venv, or reuse it.  PYTHON=python3.12 make ... chooses the interpreter.

SHELL := bash
BIN := .venv/bin
# Tests run side by side, one thread each: several threads in several processes wait for each other.
WORKERS ?= 2

.PHONY: demo test lint types unit test-slow bench install clean
.DEFAULT_GOAL := test

install:
	@bash install.sh

demo: install
	@bash examples/demo/run.sh

test: lint types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) -q

test-slow: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) -q -m slow

bench: install
	$(BIN)/python benchmarks/losses.py --output benchmarks/results/losses-cpu.json
	$(BIN)/python benchmarks/losses.py --table benchmarks/results/losses-cpu.json
	$(BIN)/python benchmarks/losses.py --table benchmarks/results/losses-cpu.json --readme README.md

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
