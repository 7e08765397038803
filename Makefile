# Thin: every target is one command. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): requirements.lock pyproject.toml scripts/setup
	@scripts/setup $(PYTHON) $(VENV)

setup: $(STAMP) ## the Python environment in .venv, and the Debian packages that the lab needs

test: setup ## static, contract and live tests; two files at a time
	@$(BIN)/python lab/build >/dev/null
	@$(BIN)/python lab/tofu/build >/dev/null
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

static: setup ## the tests that need no host
	$(BIN)/python -m pytest tests/static $(ARGS)

lint: setup ## ruff, mypy, import contracts, the Python floor of the host program
	@scripts/lint $(BIN)

demo: setup ## one server and two agents on this computer: make demo, or make demo K3S=release
	@scripts/demo $(BIN) $(or $(K3S),lab)

soak: setup ## the long sweeps
	$(BIN)/python -m pytest --soak -m soak $(ARGS)

planted: setup ## plant bugs one at a time and see that a test finds each: make planted ARGS="word of a name"
	@$(BIN)/python tests/planted/run.py $(ARGS)

docs: setup ## the documentation as a site, in build/site, with its reference made from the code
	$(BIN)/python scripts/docs-reference
	@scripts/player
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

recording: setup ## the recording of an apply that the site plays (root; makes machines on this computer)
	@scripts/record-apply $(BIN)

pictures: setup ## the pictures of the documentation, from docs/pictures/*.d2 (Go draws)
	$(BIN)/python scripts/pictures

dist: setup ## wheel and source distribution, in dist/
	@rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist

bench: setup ## the figures, as ratios within one run
	@$(BIN)/python scripts/bench $(ARGS)

.PHONY: help setup test static lint demo soak planted docs recording pictures dist bench
