"""Pages, tables, plots and intervals of reports, independent of any paper."""
