"""What a trace looks like: each view reads plain data and returns its format."""
