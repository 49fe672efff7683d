"""The process that runs programs: it imports the mathematics once and forks for every execution.

It is started by `torl_env.sandbox.local` as its own process (never forked from the trainer), needs
nothing but the standard library, and never reads or runs a program itself: code and output live in
memory files that only the forked child opens.
"""
