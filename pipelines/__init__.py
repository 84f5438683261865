"""Data jobs: from a raw click log and raw images to Parquet click features, splits and the report."""
