"""What every command stands on: console, parameters, artifacts, schemas, and which code a command runs."""
