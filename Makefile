# Needs only GNU make and Python 3.11+. `make` lists what there is.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The uv that is fetched where none is on PATH.
export UV_VERSION := 0.13.9
# A Python of your choice: make PYTHON=python3.12 setup
export PYTHON

ARGS ?=
BIN := .venv/bin
RUN_READY := .venv/.ready-run
DEV_READY := .venv/.ready-dev

.PHONY: help
help: ## list the commands
	@if [ -t 1 ]; then on='\033[36m'; off='\033[0m'; else on=''; off=''; fi; \
	echo "claude-agent-http: make COMMAND [ARGS='...']"; echo; \
	sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)$$/\1\t\2/p' Makefile | \
	while IFS="$$(printf '\t')" read -r name what; do printf "  $$on%-8s$$off %s\n" "$$name" "$$what"; done

# A checkout is run by hand, also in a development container: with the demo model, and on loopback only.
.PHONY: run
run: $(RUN_READY) ## start the service (without a model key: with the demo model)
	@CLAUDE_AGENT_CONTAINER=$${CLAUDE_AGENT_CONTAINER:-no} exec $(BIN)/claude-agent-http serve $(ARGS)

.PHONY: test
test: $(DEV_READY) ## run every test that this machine can run; ARGS go to pytest
	@$(BIN)/python -m pytest --durations=15 --numprocesses=logical --maxprocesses=2 --dist=loadfile $(ARGS)

.PHONY: proof
proof: $(DEV_READY) ## try far more than `make test` does, and write docs/proof.md; SEED=N repeats a run
	@PROOF=1 $(BIN)/python -m pytest -v --durations=15 --require-all-tiers --proof-report=docs/proof.md \
		--hypothesis-seed=$${SEED:-$$(date +%s)} $(ARGS)

.PHONY: lint
lint: $(DEV_READY) ## check style, types and layers
	@echo "==> ruff check" && $(BIN)/ruff check .
	@echo "==> ruff format" && $(BIN)/ruff format --check .
	@echo "==> mypy" && $(BIN)/mypy
	@echo "==> import-linter" && $(BIN)/lint-imports

.PHONY: format
format: $(DEV_READY) ## rewrite the code in the house style
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

.PHONY: bench
bench: $(DEV_READY) ## measure the service beside the bare SDK; ARGS go to the benchmark
	@$(BIN)/python tests/bench/run.py $(ARGS)

.PHONY: soak
soak: $(DEV_READY) ## keep the service busy for half an hour and see whether it grows; ARGS='--minutes 2'
	@$(BIN)/python tests/bench/soak/run.py $(ARGS)

.PHONY: setup
setup: $(DEV_READY) ## make .venv ready for development (the other commands do so too)

.PHONY: lock
lock: ## fix the newest allowed versions in requirements/*.txt; ARGS go to uv
	@scripts/lock $(ARGS)

.PHONY: clean
clean: ## remove .venv, .tools and every cache
	@echo "==> removing .venv, .tools and caches"
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	@find service operator tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A development environment also runs the service, so that `make run` never takes away what `make test` added.
$(RUN_READY): pyproject.toml requirements/build.txt requirements/service.txt
	@scripts/setup run
	@touch $@

$(DEV_READY): pyproject.toml requirements/dev.txt
	@scripts/setup dev
	@touch $(RUN_READY) $@
