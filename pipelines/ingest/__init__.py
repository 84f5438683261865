"""From raw logs, images and labels to checked Parquet tables; what cannot be used is quarantined with its reason."""
