"""What no gradient reaches, or one that was to reach nothing."""
