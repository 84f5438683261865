"""The noise filter (Table II): a classifier of the noisy source, scores, thresholds, and the preparation page."""
