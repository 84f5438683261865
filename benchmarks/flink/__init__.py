"""Faults of a Flink cluster, on the cluster of `make cluster`."""
