"""The user's code as text: where a call stands, and what a line to paste looks like."""
