"""A system that predicts the mean colour of a picture's border from its middle; see docs/adding_a_system.md."""
