"""Code that every command uses: console, parameters, artifacts, schemas, and the list of code files of a command."""
