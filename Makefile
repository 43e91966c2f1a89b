# One way to run things: people, hooks and CI say the same words. `make` alone lists them.

PYTHON ?= python3
WORKERS ?= 2
DEMO_DIR ?= .
BIN := .venv/bin
# One thread a worker: the workers fill the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test slow processors browser web check bench docs lessons format format-check lint types layers clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.core ## explain a packaged photograph with the built-in model, into DEMO_DIR/demo
	@cd "$(DEMO_DIR)" && "$(CURDIR)/$(BIN)/tapetum" demo

test: .venv/.dev ## the test suite, without the slow ones
	$(PYTEST)

slow: .venv/.dev ## the slow tests, a file at a time: what a file makes for its tests is made once
	$(PYTEST) --dist loadfile -m slow || [ $$? -eq 5 ] # 5: none there

processors: .venv/.dev ## the claims of equal bits, under the kernels of other processors
	OMP_NUM_THREADS=1 WORKERS=$(WORKERS) $(BIN)/python tests/processors.py

browser: .venv/.dev ## the tests in headless Chromium, which must be installed
	$(PYTEST) -m browser || [ $$? -eq 5 ] # 5: none there

check: format-check lint types layers test ## format, lint, types, import layers, tests

bench: .venv/.dev ## benchmarks against the peers, as ratios
	$(BIN)/python -m benchmarks

web: ## the pages of the atlas and the studio from their TypeScript (needs node and npm; users do not)
	cd web && npm ci --no-audit --no-fund && npm run build

lessons: .venv/.dev ## the course: executes the lessons that changed, builds the site (LESSON_FAST=1: smaller numbers; N=6: only lesson 6)
	$(BIN)/python docs/builder/build.py --lessons $(N)

docs: .venv/.dev ## the same site with a picture of every method (half an hour more; QUICK=1: without, and without running lessons)
	$(BIN)/python docs/builder/build.py $(if $(QUICK),,--lessons --gallery)

format: .venv/.dev ## rewrite the code in the project's format
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

format-check: .venv/.dev ## is the code in the project's format?
	$(BIN)/ruff format --check

lint: .venv/.dev ## ruff's rules
	$(BIN)/ruff check

types: .venv/.dev ## basedpyright
	$(BIN)/basedpyright

layers: .venv/.dev ## do imports point down the layers?
	$(BIN)/lint-imports

clean: ## remove the environment and everything made
	rm -rf .venv build dist demo docs/_build .pytest_cache .ruff_cache .import_linter_cache
	find src tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} +

# The environment: what users need, then what the tests and tools need on top. A stamp is as new as its last install.

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.core: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e .
	@touch $@

.venv/.dev: .venv/.core
	$(BIN)/python -m pip install -e ".[dev]"
	$(BIN)/python -m pip install --no-deps torchattacks==3.5.1 # an oracle that pins a requests of 2021
	@touch $@
