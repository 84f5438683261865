# Each target does its own set-up: a virtual environment in .venv with the exact versions of constraints.txt.
# CLICKSIGHT_VENV=/some/environment uses an environment that has everything already, and installs nothing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
WORKERS ?= 2

ifdef CLICKSIGHT_VENV
VENV := $(abspath $(CLICKSIGHT_VENV))
INSTALLED :=
else
VENV := $(CURDIR)/.venv
INSTALLED := $(VENV)/.installed
endif
export PATH := $(VENV)/bin:$(PATH)
unexport PYTHONPATH PYTHONHOME

.PHONY: help setup repro test lint bench ui

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1: /p' Makefile

setup: $(INSTALLED) ## make the environment; every other target does it first

repro: $(INSTALLED) ## draw the toy data, make the features, train, evaluate, write the report
	python -m flows.reproduce
	@echo && cat data/report/table_viii.txt && echo && echo "The report: $(CURDIR)/data/report/index.html"

# loadfile: the tests of one file share a worker, so that one Prefect server serves them all.
test: $(INSTALLED) ## run the tests
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python -m pytest -n $(WORKERS) --dist loadfile

lint: $(INSTALLED) ## check style, format and types
	ruff check .
	ruff format --check .
	mypy

bench: $(INSTALLED) ## measure the click-feature jobs against hand-written scripts
	python -m benchmarks.click_features

ui: $(INSTALLED) ## serve the flows with their page on 127.0.0.1
	python -m flows.serve

$(CURDIR)/.venv/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "No $(PYTHON) here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), Clicksight needs 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: python3-venv)" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	VIRTUAL_ENV=$(CURDIR)/.venv .venv/bin/uv pip install --constraint constraints.txt --editable '.[dev]'
	touch $@
