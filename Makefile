# The commands of this project. `make help` lists them; each makes what it needs and leaves it in .venv* and .work.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?=
export PYTHON
# Words for pytest: make test ARGS="tests/core -k watch"
ARGS ?=
BIN := .venv/bin
# What differs between two Airflows: the rest never imports it.
FLOOR := $(wildcard tests/airflow tests/operators tests/test_imports.py tests/test_package.py)
# Two processes; tests/conftest.py says which runs what.
PYTEST := python -m pytest -n 2 --dist loadscope

.PHONY: help demo ui pictures test test-floor check format env setup setup-dev setup-floor clean

help: ## this list
	@echo "airflow-batchstream: make TARGET [PYTHON=/path/to/python3.11..3.13]"
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name says; do printf '  %-12s %s\n' "$$name" "$$says"; done

demo: setup ## the local Batch, a small image, and example 1 in a real Airflow, in the foreground
	@$(BIN)/python scripts/demo.py

ui: setup ## Airflow's UI with the local Batch and the example Dags, on loopback, until Ctrl-C
	@$(BIN)/python scripts/ui.py

pictures: setup-dev ## take the pictures of README and docs anew (needs chromium)
	@$(BIN)/python scripts/pictures.py

test: setup-dev ## all tests with Airflow 3.3 (ARGS="..." goes to pytest)
	$(BIN)/$(PYTEST) $(ARGS)

test-floor: setup-floor ## the tests that touch Airflow, with the oldest supported one (3.1.7)
	.venv-3.1/bin/$(PYTEST) $(FLOOR) $(ARGS)

check: setup-dev ## ruff, mypy, the layers of the house, the size of modules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/module_sizes.py

format: setup-dev ## what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

env: ## .env with passwords and keys for docker-compose.yaml; one that is there is kept
	@$(or $(PYTHON),python3) scripts/env.py

setup: ## .venv with what the library needs
	@scripts/setup.sh .venv airflow-3.3

setup-dev: ## ... and with the tools of tests and checks
	@scripts/setup.sh .venv airflow-3.3 dev postgres

setup-floor: ## .venv-3.1: the same with Airflow 3.1.7
	@scripts/setup.sh .venv-3.1 airflow-3.1 dev

clean: ## remove everything that the other targets made
	rm -rf .venv .venv-3.1 .work .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
