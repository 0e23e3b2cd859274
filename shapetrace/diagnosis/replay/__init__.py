"""Repairs tried: the recorded calls walked again with the sizes that would arise."""
