"""Masks and padding: of keys, of tokens, of losses and of weights."""
