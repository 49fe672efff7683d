"""Policies, one backend a file, each importing its library lazily where it is heavy."""
