"""The system's part of the report: the paper's tables and figures with our results, and verdicts on its claims."""
