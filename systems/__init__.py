"""One folder per published system, and the noise filter, whose artifacts the systems read. None imports another."""
