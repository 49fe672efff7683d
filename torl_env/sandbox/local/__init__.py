"""The client of the fork servers on this machine: the default sandbox."""
