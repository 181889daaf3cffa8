"""Defaulting and validation before the store: pure functions, one module a kind."""
