"""Pages, tables, plots and intervals of reports. It knows no paper."""
