"""The two-tower trained on a click log: queries find images, and which of both are new is told apart.

`queries` makes query features and splits queries, `train` and `evaluate` are the two stages of a run, `report` is its
part of the page.
"""
