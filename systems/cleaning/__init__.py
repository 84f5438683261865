"""The noise filter (Table II): a classifier of the noisy source, scores, thresholds, and the preparation page."""

import pipelines  # noqa: F401  before Beam: it filters a warning that Beam's import would log
