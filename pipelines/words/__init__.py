"""From a click log to words: segmented queries, the vocabulary, the click matrix C' and click features (TF-IDF)."""
