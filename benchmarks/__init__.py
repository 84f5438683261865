"""What is timed, and what takes too long for a test; docs/benchmarks.md has what it printed."""
