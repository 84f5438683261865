"""The toy data set: drawn creatures on scenes, and the click log of people who search for them."""
