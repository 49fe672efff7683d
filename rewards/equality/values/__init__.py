"""What an answer can be, and trees of scalar expressions."""
