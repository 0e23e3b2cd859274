"""Operands that stretch each other."""
