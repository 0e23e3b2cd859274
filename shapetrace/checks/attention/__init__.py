"""Scores, weights and heads of attention."""
