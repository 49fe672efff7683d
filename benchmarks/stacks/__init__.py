"""The environment inside other training stacks, run with their real packages of today."""
