"""A trace whose records are bounded: its list of events, and what of them is let go."""
