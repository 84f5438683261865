#!/bin/sh
# Beam's PROCESS environment on Flink: a TaskManager starts this file with the worker's options. The command that submits
# the job sets the variables (pipelines/beam/flink/runner.py).
cd "$CLICKSIGHT_ROOT" && exec "$CLICKSIGHT_PYTHON" -m pipelines.beam.flink.worker "$@"
