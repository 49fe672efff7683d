"""A job on several nodes: rehearsed on two hosts of one machine, simulated beyond."""
