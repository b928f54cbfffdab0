# make demo   the main job in miniature: five minutes on two cores, offline once installed
# make check  lint, types, and the tests of the losses, criterions and tasks: two minutes on two cores
# make test   lint, types and all tests
# make docs   the documentation as a static site, in docs/_build/html
# make bench  every figure, table and plot of benchmarks/
# All make .venv, or reuse it.  PYTHON=python3.12 make ... chooses the interpreter.

SHELL := bash
BIN := .venv/bin
# Tests run side by side, one thread each: several threads in several processes wait for each other.
# Each worker takes a stretch of the suite, so that what a file's tests share is set up once.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS) --dist worksteal
RESULTS := benchmarks/results
BENCHMARKS := losses projection growth training logging_cost completions fusion_in_decoder long_inputs
# The rows of benchmarks/projection.py that README.md shows.
HEADLINES := scalegrad,scalegrad_chunked_512,unlikelihood_chunked_512,dense_masks
# The slow size of benchmarks/strategies.py, and what its tables are made of.
BASE_SIZE := --setting translation,base,16,16 --setting translation,base,4,64 --repeats 3 \
	--unrolled-repeats 1 --strategies scheduled_argmax,scheduled_sample,scheduled_expected,$\
	generative_greedy,generative_sampling,unrolled_cached,unrolled,sequence
STRATEGIES_RESULTS := $(addprefix --table $(RESULTS)/strategies-,cpu.json base-cpu.json)

.PHONY: demo check test lint types unit test-slow docs docs-links bench bench-pages bench-strategies \
	install clean $(addprefix bench-,$(BENCHMARKS))
.DEFAULT_GOAL := test

install:
	@bash install.sh

demo: install
	@bash examples/demo/run.sh

check: lint types
	$(PYTEST) tests/functional tests/criterions tests/tasks

test: lint types unit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	$(PYTEST)

test-slow: install
	$(PYTEST) -m slow

docs: install
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Asks the network about every address outside; the links within are checked by the tests.
docs-links: install
	$(BIN)/sphinx-build -n -q -b linkcheck docs docs/_build/links

# One after the other: what is measured side by side slows each other down.
.NOTPARALLEL:

# Measures everything, which takes an hour and three quarters, and renders it.  One of them alone:
# make bench-growth bench-pages
bench: $(addprefix bench-,$(BENCHMARKS) strategies) bench-pages

$(addprefix bench-,$(BENCHMARKS)): bench-%: install
	$(BIN)/python benchmarks/$*.py $(FLAGS) --output $(RESULTS)/$*-cpu.json

# Of the six criterions and two backends those that tell most: all take an hour and a quarter.
bench-training: FLAGS := --rows label_smoothed_cross_entropy,scalegrad,scalegrad_chunked,$\
	unlikelihood_chunked --ddp-backend pytorch_ddp --updates 15 --warm-up 3
# One thread: what others on the machine do moves a ratio of processor times least.
bench-losses: FLAGS := --threads 1

bench-strategies: install
	$(BIN)/python benchmarks/strategies.py --output $(RESULTS)/strategies-cpu.json
	$(BIN)/python benchmarks/strategies.py $(BASE_SIZE) --output $(RESULTS)/strategies-base-cpu.json

# The tables and plots of the results that there are, without measuring.
bench-pages: install
	set -e; for name in $(BENCHMARKS); do table=$(RESULTS)/$$name-cpu.json; \
		[ ! -e $$table ] || $(BIN)/python benchmarks/$$name.py --table $$table; done
	$(BIN)/python benchmarks/strategies.py $(STRATEGIES_RESULTS)
	$(BIN)/python benchmarks/losses.py --table $(RESULTS)/losses-cpu.json --readme README.md
	$(BIN)/python benchmarks/projection.py --losses $(HEADLINES) \
		--table $(RESULTS)/projection-cpu.json --readme README.md
	$(BIN)/python benchmarks/strategies.py $(STRATEGIES_RESULTS) --readme README.md
	$(BIN)/python benchmarks/plots.py

clean:
	rm -rf .venv build docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
