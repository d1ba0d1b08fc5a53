# Daily commands. Every target works alone from a fresh clone with Python 3.11+ and make.
#   make test ARGS="-k shapley"     passes ARGS to the command behind the target
#   make setup VENV=/tmp/env        uses another environment than .venv

VENV   ?= .venv
ARGS   ?=
PIP    := pip==26.3
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SPREAD := -n 2 --dist loadfile  # two processes of one thread each; ARGS="-n 0" for one
BENCH  := masked_evaluation walk_efficiency memory_bound scheduler exact_demo surrogate_speed serve

# The first interpreter that runs (a version manager's shim may exist and still fail),
# is new enough and can make environments.
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	if $$p -c '$(USABLE)' >/dev/null 2>&1; then echo $$p; break; fi; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test quick check docs bench

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Make the environment and install the project with its development tools

# The stamp is written last, so an interrupted installation is done again.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv found; \
	name one: make setup PYTHON=/path/to/python3" >&2; exit 2; }
	@rm -f $@
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet "$(PIP)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--build-constraint constraints.txt --editable . --group dev
	@touch $@

run: setup ## Explain and prune the embedded model (ARGS="MODEL --budget 512" for another)
	$(BIN)/layershap run $(ARGS)

test: setup ## Run the tests (ARGS="-k shapley" to choose)
	$(BIN)/python -m pytest $(SPREAD) -m "not kills" $(ARGS) || [ $$? -eq 5 ]
	$(BIN)/python -m pytest -m kills $(ARGS) || [ $$? -eq 5 ]

quick: setup ## Run the tests without whole runs, killed processes and browsers
	$(BIN)/python -m pytest $(SPREAD) -m "not slow and not pipeline and not kills and not browser" \
		$(ARGS)

check: setup ## Lint, formatting, types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: setup ## Build the documentation into docs/_build/html, warnings as errors
	$(BIN)/python -m sphinx -q -W --keep-going -b html $(ARGS) docs docs/_build/html

bench: setup ## Run the benchmarks; results in runs/bench/*.json
	@mkdir -p runs/bench
	@failed=; for name in $(BENCH); do \
		echo "== $$name"; \
		$(BIN)/python -m benchmarks.$$name --json runs/bench/$$name.json $(ARGS) \
			|| failed="$$failed $$name"; \
	done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }
