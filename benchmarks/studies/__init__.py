"""Studies of what data are worth, on prepared data sets and frozen features; each is a command."""
