"""Data jobs: from a raw click log and raw images, or the drawn toy data set, to Parquet click features and splits."""

import gc
import logging

# Importing Beam, Arrow and Polars creates half a million objects that stay alive. With Python's default threshold the
# garbage collector would scan them again and again, which takes 0.6 s of every command.
gc.set_threshold(100_000, 20, 100)

# On import, Beam warns that Google's BigQuery client is missing. No job here uses BigQuery.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
