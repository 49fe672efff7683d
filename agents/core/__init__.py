"""What every agent stands on; import from its modules."""
