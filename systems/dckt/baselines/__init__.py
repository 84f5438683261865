"""Comparison methods on the frozen features of the target's pairs; none of them sees the source.

`config` has their parameters (without importing torch), `methods` their names; every module names its paper, what it
follows and what it changes.
"""
