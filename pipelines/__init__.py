"""Data jobs: from a raw click log and raw images to Parquet click features, splits and the report."""

import gc
import logging

# Importing Beam, Arrow and Polars makes half a million objects that stay. At Python's own threshold the collector walks
# them again and again: 0.6 s of every command.
gc.set_threshold(100_000, 20, 100)

# Beam warns when it is imported that Google's BigQuery client is missing. No job here speaks to BigQuery.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
