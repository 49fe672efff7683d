"""Episodes played by a policy: prompts, the engine, branches, behaviour."""
