"""Repairs: the text to write, and what it does to a tensor or a layer."""
