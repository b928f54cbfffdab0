# make demo   the main job in miniature: five minutes on two cores, offline once installed
# make test   lint, types and tests
# Both make .venv, or reuse it.  PYTHON=python3.12 make ... chooses the interpreter.

SHELL := bash
BIN := .venv/bin
# Tests run side by side, one thread each: several threads in several processes wait for each other.
WORKERS ?= 2
# The slow size of benchmarks/strategies.py, and what its tables are made of.
BASE_SIZE := --setting translation,base,16,16 --setting translation,base,4,64 --repeats 3 \
	--unrolled-repeats 1 --strategies scheduled_argmax,scheduled_sample,scheduled_expected,$\
	generative_greedy,generative_sampling,unrolled_cached,unrolled,sequence
STRATEGIES_RESULTS := $(addprefix --table benchmarks/results/strategies-,cpu.json base-cpu.json)

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
	$(BIN)/python benchmarks/strategies.py --output benchmarks/results/strategies-cpu.json
	$(BIN)/python benchmarks/strategies.py $(BASE_SIZE) --output benchmarks/results/strategies-base-cpu.json
	$(BIN)/python benchmarks/strategies.py $(STRATEGIES_RESULTS)
	$(BIN)/python benchmarks/strategies.py $(STRATEGIES_RESULTS) --readme README.md
	$(BIN)/python benchmarks/completions.py --output benchmarks/results/completions-cpu.json
	$(BIN)/python benchmarks/completions.py --table benchmarks/results/completions-cpu.json

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
