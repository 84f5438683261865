"""What is timed, and what takes too long for a test: by hand, never in the gate. docs/benchmarks.md has what they printed."""
