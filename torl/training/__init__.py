"""One training: its options, checks, plan, data sets, stages."""
