"""Measures as per-unit values: each function returns units, and a metric is a ratio of sums over its units.

An evaluation writes the units as ``units.parquet`` (`base.schemas.UNITS`), so that intervals and paired differences of
any metric can be computed from the values of each image, query or category (`report.intervals`).
"""
