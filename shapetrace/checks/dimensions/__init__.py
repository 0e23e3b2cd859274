"""What runs over, or is normalised over, the wrong dimension."""
