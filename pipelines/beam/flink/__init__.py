"""Beam jobs on a Flink session cluster: its processes, their settings, a job's worker, and a job's way through faults."""
