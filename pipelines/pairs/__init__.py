"""Image-text pairs: read in several layouts, checked, written as shards, split, and compared for copies."""
