"""Tiny real parts for tests, and the contracts of policies and algorithms."""
