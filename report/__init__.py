"""Pages, tables, plots, intervals and verdicts of reports, independent of any paper."""
