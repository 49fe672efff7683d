"""Child interpreters: a killable one for what our rules leave open, many for many answers."""
