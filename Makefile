# The workshop's front door. `make help` lists what there is; CONTRIBUTING.md says when to use what.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?=
export PYTHON
# Extra arguments for the program behind a target: make test ARGS="-k schedule -x"
ARGS ?=

BIN := .venv/bin
ENV_STAMP := .venv/.legato-dev
# What the demo and the web UI's build need; the environment to work in holds it too, so either stamp is enough.
DEMO_STAMP := .venv/.legato-demo
RUN_STAMP := $(if $(wildcard $(ENV_STAMP)),$(ENV_STAMP),$(DEMO_STAMP))
UI_STAMP := .cache/ui-built
UI_SOURCES := $(shell [ -d ui ] && find ui -name node_modules -prune -o -type f -print)

# In CI what is missing is a failure, never a skip.
ifeq ($(CI),true)
export LEGATO_REQUIRE_UI := 1
endif

##@ Use

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z0-9_-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(RUN_STAMP) ## run the main example: train a model, with retries, caching and full history
	@$(MAKE) --no-print-directory ui || echo "demo: going on without the web UI"
	$(BIN)/python examples/duration_prediction/train.py $(ARGS)
	@echo "In this clone the command is $(BIN)/legato; 'source $(BIN)/activate' puts it on your path."

##@ Work

.PHONY: dev
dev: $(ENV_STAMP) ## make .venv and install the pinned development environment

$(ENV_STAMP): requirements/dev.txt pyproject.toml tools/dev-env.sh
	@tools/dev-env.sh dev $@

$(DEMO_STAMP): requirements/demo.txt pyproject.toml tools/dev-env.sh
	@tools/dev-env.sh demo $@

.PHONY: format
format: $(ENV_STAMP) ## format the Python code and apply the safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: ui
ui: $(UI_STAMP) ## build the web UI, if its sources changed

$(UI_STAMP): $(UI_SOURCES) hatch_build.py | $(RUN_STAMP)
	@tools/ui-build.sh
	@mkdir -p $(@D) && touch $@

.PHONY: bench
bench: $(ENV_STAMP) ## run the benchmarks and compare them with the budgets
	@if [ -f benchmarks/__main__.py ]; then $(BIN)/python -m benchmarks $(ARGS); else echo "bench: nothing here yet"; fi

.PHONY: bench-peers
bench-peers: $(ENV_STAMP) ## run the same workloads on Legato, Prefect and DBOS, in environments of their own
	$(BIN)/python -m benchmarks.peers $(ARGS)

.PHONY: docs
docs: $(ENV_STAMP) ## build the documentation into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

##@ Prove

.PHONY: test
test: $(ENV_STAMP) ## run the Python tests, with PostgreSQL and a browser where they exist (in CI: always)
	@$(MAKE) --no-print-directory ui
	@tools/run-tests.sh $(ARGS)

.PHONY: check
check: lint types layers docs docs-run ui-test ## everything CI runs besides the tests

.PHONY: lint
lint: $(ENV_STAMP) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(ENV_STAMP) ## mypy, strict
	$(BIN)/mypy

.PHONY: layers
layers: $(ENV_STAMP) ## import-linter: imports point down
	$(BIN)/lint-imports --no-logo

.PHONY: docs-run
docs-run: $(ENV_STAMP) ## run every Python block of the README and the docs
	$(BIN)/python -m pytest tests/docs $(ARGS)

.PHONY: ui-test
ui-test: $(ENV_STAMP) ## type-check, test and build the web UI
	@if [ -f ui/package.json ]; then \
	  $(MAKE) --no-print-directory ui; \
	  $(BIN)/python hatch_build.py run check; \
	  $(BIN)/python hatch_build.py run test; \
	else echo "ui-test: nothing here yet"; fi

.PHONY: fresh
fresh: ## as on a fresh machine: a clone, no uv, the pip of Debian 12, no cache: the demo trains and the environment installs
	@tools/fresh-machine.sh

.PHONY: chaos
chaos: $(ENV_STAMP) ## kill processes at random for a while and check that nothing was lost
	@if [ -d tests/chaos ]; then LEGATO_TEST_SCHEMA_EXAMPLES=200 $(BIN)/python -m pytest tests/chaos tests/server/test_schema.py -m "chaos or slow" $(ARGS); else echo "chaos: nothing here yet"; fi

.PHONY: soak
soak: $(ENV_STAMP) ## run under load for hours and watch memory, handles and latency
	@if [ -f benchmarks/soak.py ]; then $(BIN)/python -m benchmarks.soak $(ARGS); else echo "soak: nothing here yet"; fi

##@ Keep

.PHONY: pins
pins: ## resolve the development environment anew into requirements/*.txt
	@tools/pins.sh $(ARGS)

.PHONY: deps-apt
deps-apt: ## as root on Debian: install what the tests need and pip cannot bring (PostgreSQL, Chromium, nginx, fonts)
	@tools/deps-apt.sh

.PHONY: clean
clean: ## remove what was built and cached; keeps .venv and your data
	rm -rf build dist site .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov test-results
	rm -rf src/legato/server/ui_dist ui/node_modules
	find src tests benchmarks examples tools -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
