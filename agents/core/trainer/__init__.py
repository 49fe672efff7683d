"""One update: what is learned from, how it becomes a gradient, and TRL's trainer around both."""
