"""One loss a module, each with its equation."""
