"""Predicts a picture's background, the mean colour of its border, from its middle: docs/adding_a_system.md."""
