"""Evaluation: what answers, and how answers are corrected."""
