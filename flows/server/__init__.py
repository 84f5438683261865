"""Our own Prefect server: its process, its password, what it refuses, and how a browser gets in."""
