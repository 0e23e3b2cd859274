"""Lines to paste: the user's own code with a mistake mended in it."""
