"""The trainer: phases, steps, checkpoints and curves. It knows no system."""
