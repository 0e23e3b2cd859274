"""Places, steps and pairs that come in another order than was meant."""
