"""What a recording answers, and how it is shown and written to files."""
