"""Measures as per-unit values: each returns units, and a metric is a ratio of their sums.

An evaluation writes them as ``units.parquet`` (`base.schemas.UNITS`), so that intervals and paired differences of any
metric can be computed from what was measured of each image, query or category (`report.intervals`).
"""
