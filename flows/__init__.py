"""Prefect flows: when, where and what happens on failure. No computation lives here."""
