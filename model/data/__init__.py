"""Reads the training data: images, and batches as a pure function of seed, phase and step."""
