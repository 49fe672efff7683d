"""This environment in the forms of other projects; each module needs only its own peer."""
