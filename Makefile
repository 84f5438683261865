# Each target first makes a virtual environment in .venv with the exact versions of constraints.txt, whose hashes pip
# and uv check. CLICKSIGHT_VENV=/some/environment uses an environment that is already complete, and installs nothing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
WORKERS ?= 3
FLINK ?= 1.20
JOB_SERVER := .state/flink/job-server.jar
SPARK_JOB_SERVER := .state/spark/job-server.jar

# The folder's path may have spaces, so it must not be in make's own functions and targets, where a space ends a name.
ifdef CLICKSIGHT_VENV
VENV := $(shell realpath -ms -- "$(CLICKSIGHT_VENV)")
INSTALLED :=
else
VENV := $(CURDIR)/.venv
INSTALLED := .venv/.installed
endif
export PATH := $(VENV)/bin:$(PATH)
unexport PYTHONPATH PYTHONHOME

.PHONY: help setup hello repro demo test test-flink test-spark cluster cluster-status cluster-down lint bench ui

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1: /p' Makefile

setup: $(INSTALLED) ## make the environment; every other target does this first

hello: $(INSTALLED) ## draw a small log with pictures, and make labels, features, a recogniser and a page of it
	python -m clicksight.hello

repro: $(INSTALLED) ## draw the toy data, make the features, train, evaluate, write the report
	python -m flows.reproduce
	@echo && cat data/mtmdd/report/table_viii.txt && echo && echo "The report: $(CURDIR)/data/report/index.html"

demo: $(INSTALLED) ## serve a page to try what make repro has trained: pictures in, what they show out; words in, pictures out
	python -m clicksight.serve data --by data/mtmdd/models/MTMDD-VM-star/seed-0 --pictures 'data/sets/*/ingested/images/*.parquet'

# Three workers on two cores, because tests of servers wait.
# loadfile: the tests of one file share a worker, so that they share one Prefect server. They run in the order of
# tests/conftest.py, the slow files first.
test: $(INSTALLED) ## run the tests
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-flink: $(INSTALLED) $(JOB_SERVER) ## run the click-feature jobs on a local Flink cluster; needs Java 11 or newer, and Maven
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python -m pytest -m flink tests/test_flink.py tests/test_flink_cluster.py

test-spark: $(INSTALLED) $(SPARK_JOB_SERVER) ## run one of these jobs on Spark in local mode; needs the same
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python -m pytest -m spark tests/test_spark.py

cluster: $(INSTALLED) $(JOB_SERVER) ## start a Flink cluster on this machine, for commands with --runner cluster
	python -m pipelines.beam.flink.cluster up

cluster-status: $(INSTALLED) ## show its processes, slots and jobs
	python -m pipelines.beam.flink.cluster status

cluster-down: $(INSTALLED) ## stop it
	python -m pipelines.beam.flink.cluster down

lint: $(INSTALLED) ## check style, format and types
	ruff check .
	ruff format --check .
	mypy

bench: $(INSTALLED) ## measure the click-feature jobs against hand-written scripts
	python -m benchmarks.click_features

ui: $(INSTALLED) ## serve the flows with their page on 127.0.0.1; prints its password
	python -m flows.serve

.venv/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) not found: install Python 3.11 or newer, or name its path: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), Clicksight needs 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || { echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian, Ubuntu: python3-venv)" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > .venv/uv.txt # pip reads hashes from requirements only, not from constraints
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement .venv/uv.txt
	VIRTUAL_ENV="$(VENV)" .venv/bin/uv pip install --compile-bytecode --constraint constraints.txt --editable '.[dev]'
	touch $@

# Beam's own fat jar, which matches the Python side; if Maven can't get it, the newest runner that is published in parts.
# With --strict-checksums Maven refuses a file that does not match its checksum in the repository.
$(JOB_SERVER): tests/flink/pom.xml
	@for tool in java mvn; do command -v $$tool > /dev/null || { echo "$$tool not found: Flink needs Java 11 or newer, and Maven to fetch its job server" >&2; exit 1; }; done
	@mkdir -p $(@D)
	@beam=$$(sed -n 's/.*"apache-beam==\([0-9.]*\)".*/\1/p' pyproject.toml); \
	fetch="mvn --batch-mode --quiet --strict-checksums --file $< package"; \
	if $$fetch -Dbeam.artifact=beam-runners-flink-$(FLINK)-job-server -Dbeam.version=$$beam > $(@D)/maven.log 2>&1; then \
		echo "Flink $(FLINK) with the job server of Beam $$beam: $@"; \
	elif $$fetch >> $(@D)/maven.log 2>&1; then \
		echo "Maven has no job server of Beam $$beam for Flink $(FLINK): $@ is made of the parts that $< names"; \
	else \
		echo "Maven can't download Flink's job server; check the network and read $(@D)/maven.log" >&2; exit 1; \
	fi

# 312 MB of Spark and Beam, in Maven's own repository.
$(SPARK_JOB_SERVER): tests/spark/pom.xml
	@for tool in java mvn; do command -v $$tool > /dev/null || { echo "$$tool not found: Spark needs Java 11 or newer, and Maven to fetch it" >&2; exit 1; }; done
	@mkdir -p $(@D)
	@mvn --batch-mode --quiet --strict-checksums --file $< package > $(@D)/maven.log 2>&1 || { echo "Maven can't download Spark; check the network and read $(@D)/maven.log" >&2; exit 1; }
