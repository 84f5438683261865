"""The drawn toy world: creatures on scenes, and the click log of people who search for them."""
