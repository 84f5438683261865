"""Reading what networks learn from: images, and batches as a pure function of seed, phase and step."""
