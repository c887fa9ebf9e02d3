# `make` alone lists the targets. Everything is installed into this checkout: .venv and .cache.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
BOOT := $(PYTHON) deploy/bootstrap.py
# Container images set it; without compiled files each process of a test would compile them again.
export PYTHONDONTWRITEBYTECODE :=
export AIRBOSS_AGENTS_DIR ?= $(CURDIR)/.cache/agents/node_modules/.bin
FIGURES = $(basename $(notdir $(shell grep -l '^def main' tests/bench/*.py)))
PYTEST := $(BIN)/python3 -m pytest -n 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo install agents test lint types unit torture bench pictures lock clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do \
		printf '  make %-10s %s\n' "$$name" "$$what"; done

demo: ## install, then run one task from chat to receipt (AGENT=claude or codex: your own agent)
	@$(BOOT)
	@$(BIN)/airboss demo $(if $(AGENT),--agent $(AGENT))

install: ## make .venv with the locked packages and the airboss command
	@$(BOOT)

agents: ## install the pinned agents for the tests, with npm
	@$(BOOT) agents

test: ## run every check: lint, types, unit, contracts, scenarios
	@$(BOOT) tests
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary > .cache/types.log 2>&1 & types=$$!; \
		test -d tests/unit/__pycache__ || $(BIN)/python3 -m pytest --collect-only -q > /dev/null 2>&1; \
		$(PYTEST) $(ARGS); tests=$$?; \
		wait $$types || { cat .cache/types.log; exit 1; }; exit $$tests

lint: ## run ruff: rules and format
	@$(BOOT)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: ## run mypy, strict
	@$(BOOT)
	@$(BIN)/mypy

unit: ## run the tests that need no machine and no agent
	@$(BOOT)
	@$(PYTEST) tests/unit $(ARGS)

torture: ## run the tests with the long campaigns; AIRBOSS_SEED=n repeats a run, whose seed is printed
	@$(BOOT) torture
	@AIRBOSS_CAMPAIGN=full $(PYTEST) --timeout 3600 $(ARGS)

bench: ## measure the promised figures; fails when one is missed
	@$(BOOT) tests
	@status=0; for figure in $(FIGURES); do \
		$(BIN)/python3 -m tests.bench.$$figure || status=1; done; exit $$status

pictures: ## draw docs/pictures from the product's own cards, in a real browser
	@$(BOOT) browser
	@$(BIN)/python3 -m tests.gallery.gallery docs/pictures

lock: ## write requirements.lock from pyproject.toml, without download addresses
	@$(BOOT)
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --group dev pyproject.toml -o requirements.lock

clean: ## remove what the targets above made
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
