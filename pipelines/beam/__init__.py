"""How Beam jobs run here: the runner, threads within a worker, grouping into shards, and shards on disk."""
