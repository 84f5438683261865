"""One loss per module, each with its equation."""
