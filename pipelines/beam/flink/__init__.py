"""Beam jobs on a Flink session cluster: its processes and settings, a job's workers, and how a job gets over faults."""
