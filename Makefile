# Each target does its own set-up: a virtual environment in .venv with the exact versions of constraints.txt, whose hashes
# pip and uv check.
# CLICKSIGHT_VENV=/some/environment uses an environment that has everything already, and installs nothing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
WORKERS ?= 2
FLINK ?= 1.20
JOB_SERVER := .state/flink/job-server.jar

# The folder's path may have spaces: make's own functions and targets take a space for the end of a name.
ifdef CLICKSIGHT_VENV
VENV := $(shell realpath -ms -- "$(CLICKSIGHT_VENV)")
INSTALLED :=
else
VENV := $(CURDIR)/.venv
INSTALLED := .venv/.installed
endif
export PATH := $(VENV)/bin:$(PATH)
unexport PYTHONPATH PYTHONHOME

.PHONY: help setup repro test test-flink lint bench ui

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1: /p' Makefile

setup: $(INSTALLED) ## make the environment; every other target does it first

repro: $(INSTALLED) ## draw the toy data, make the features, train, evaluate, write the report
	python -m flows.reproduce
	@echo && cat data/mtmdd/report/table_viii.txt && echo && echo "The report: $(CURDIR)/data/report/index.html"

# loadfile: the tests of one file share a worker, so that one Prefect server serves them all.
test: $(INSTALLED) ## run the tests
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python -m pytest -n $(WORKERS) --dist loadfile

test-flink: $(INSTALLED) $(JOB_SERVER) ## run the click-feature jobs on a local Flink cluster; needs Java 11 or newer, and Maven
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python -m pytest -m flink tests/test_flink.py

lint: $(INSTALLED) ## check style, format and types
	ruff check .
	ruff format --check .
	mypy

bench: $(INSTALLED) ## measure the click-feature jobs against hand-written scripts
	python -m benchmarks.click_features

ui: $(INSTALLED) ## serve the flows with their page on 127.0.0.1; prints its password
	python -m flows.serve

.venv/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "No $(PYTHON) here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), Clicksight needs 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: python3-venv)" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > .venv/uv.txt # pip takes hashes from requirements only, not from constraints
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement .venv/uv.txt
	VIRTUAL_ENV="$(VENV)" .venv/bin/uv pip install --compile-bytecode --constraint constraints.txt --editable '.[dev]'
	touch $@

# Beam's own fat jar, which matches the Python side; where Maven can't have it, the newest runner that it can, in parts.
# --strict-checksums: what does not match its checksum in the repository is refused.
$(JOB_SERVER): tests/flink/pom.xml
	@for tool in java mvn; do command -v $$tool > /dev/null || { echo "No $$tool here: Flink needs Java 11 or newer, and Maven to fetch its job server" >&2; exit 1; }; done
	@mkdir -p $(@D)
	@beam=$$(sed -n 's/.*"apache-beam==\([0-9.]*\)".*/\1/p' pyproject.toml); \
	fetch="mvn --batch-mode --quiet --strict-checksums --file $< package"; \
	if $$fetch -Dbeam.artifact=beam-runners-flink-$(FLINK)-job-server -Dbeam.version=$$beam > $(@D)/maven.log 2>&1; then \
		echo "Flink $(FLINK) with the job server of Beam $$beam: $@"; \
	elif $$fetch >> $(@D)/maven.log 2>&1; then \
		echo "No job server of Beam $$beam for Flink $(FLINK) to be had: $@ is made of the parts that $< names"; \
	else \
		echo "Maven can't get Flink's job server (no network?): see $(@D)/maven.log" >&2; exit 1; \
	fi
