"""Benchmarks of speed, each a module to run with `python -m`."""
