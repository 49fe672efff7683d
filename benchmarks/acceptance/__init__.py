"""Acceptance on a machine with an accelerator: blocks that pass or fail, each against a bound."""
