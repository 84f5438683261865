"""The trainer: phases, steps, checkpoints and curves. It imports no system."""
