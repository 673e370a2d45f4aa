# Everything a contributor runs. `make` alone lists the targets; every target prepares .venv by itself when it must.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast check fmt lint types guards bench soak docs lock clean

# The interpreter of the machine is used as it is: nothing here may download another one.
export UV_PYTHON_DOWNLOADS := never
export UV_PYTHON_PREFERENCE := only-system

# Servers that tests start by the dozen, and that people start, load what was compiled before.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
READY := .venv/.ready
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
	--no-emit-find-links --python-version 3.12

# Tests of one file share their fixtures, so a file stays on one worker. Many of them wait, hence one more than processors.
PARALLEL ?= -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --maxprocesses 4 --dist loadscope
FAST := -m "not postgres and not server and not slow" tests/rules tests/use_cases tests/contracts

help: ## List the targets
	@echo "Hexward: make <target> [ARGS=\"...\"]"
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements/dev.txt requirements/uv.txt pyproject.toml tools/setup.sh
	@sh tools/setup.sh

setup: $(READY) ## Build .venv from the hash-pinned lock files (every other target does it when needed)
	@echo ".venv is ready."

run: $(READY) ## Start Hexward on its embedded PostgreSQL (ARGS="--workers 2" and the like)
	@exec $(BIN)/hexward serve $(ARGS)

test: $(READY) ## Run the tests but the long ones, which `make check` runs too (ARGS="-k login" and the like)
	@$(BIN)/python -m pytest $(PARALLEL) -m "not long" $(ARGS)

test-fast: $(READY) ## Run rules, use cases and contracts on the memory adapters: nothing slow, no database
	@$(BIN)/python -m pytest $(PARALLEL) $(FAST) $(ARGS)

check: $(READY) ## Run all that CI asks: format, lint, types, contracts, locks, links, tests with coverage
	@$(BIN)/python tools/check.py

fmt: $(READY) ## Format the code and mend what Ruff can mend
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

lint: $(READY) ## Lint, and check the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports

types: $(READY) ## Check the types, strictly
	@$(BIN)/mypy

guards: $(READY) ## Remove each guard in a copy, and see that its test notices (ARGS="R08" for some)
	@$(BIN)/python tools/guards.py $(ARGS)

bench: $(READY) ## Measure the hot paths beside the machine's own limits
	@PYTHONPATH=src:tests $(BIN)/python -m benchmarks $(ARGS)

soak: $(READY) ## Run at length: properties, the fuzzer, races, cut requests and faults (about an hour)
	@HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest $(PARALLEL) -m "not server" tests/rules tests/contracts \
		tests/http/test_fuzz.py $(ARGS)
	@SOAK=1 $(BIN)/python -m pytest tests/races tests/journeys/test_cuts.py tests/journeys/test_faults.py $(ARGS)

docs: $(READY) ## Write the reference pages anew from the code, and check every link
	@$(BIN)/python -m entrypoints.settings > docs/reference/settings.md
	@$(BIN)/python -m entrypoints.cli.reference > docs/reference/commands.md
	@$(BIN)/python tools/check_links.py

lock: $(READY) ## Write the lock files anew from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(COMPILE) $(ARGS) pyproject.toml -o requirements/runtime.txt
	@$(COMPILE) $(ARGS) pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
	@$(BIN)/python tools/check_locks.py --build-requirements | \
		$(COMPILE) $(ARGS) - -c requirements/dev.txt -o requirements/build.txt
	@echo uv | $(COMPILE) $(ARGS) - -o requirements/uv.txt
	@$(BIN)/python tools/check_locks.py

clean: ## Remove what was built: .venv and caches, never the data folder .hexward
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov dist build
	@rm -f .coverage .coverage.* junit.xml
	@find src tests tools examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
