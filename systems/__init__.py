"""One folder a published system, and the noise filter whose artifacts the others read. No system imports another."""
