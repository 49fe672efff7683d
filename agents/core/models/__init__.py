"""Weights: where they come from, how they load, adapters."""
