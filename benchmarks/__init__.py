"""Measures agents: held-out evaluation, performance, reports."""
