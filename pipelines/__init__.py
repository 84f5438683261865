"""Data jobs: from a raw click log and raw images to Parquet click features, splits and the report."""

import logging

# Beam warns when it is imported that Google's BigQuery client is missing. No job here speaks to BigQuery.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
