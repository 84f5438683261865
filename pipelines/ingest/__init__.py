"""Turn raw logs, images and labels into checked Parquet tables; quarantine unusable rows and images with a reason."""
