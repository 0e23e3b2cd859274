"""Who made a size, and of which factors it is made."""
