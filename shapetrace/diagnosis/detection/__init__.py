"""Which call failed, and the sizes, types or indices that clash in it."""
