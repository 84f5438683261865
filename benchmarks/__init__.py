"""Measurements, and checks that take too long for a test; docs/benchmarks.md has the results."""
