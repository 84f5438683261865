"""Data jobs on tag logs: who gave which image which tag, and when."""
