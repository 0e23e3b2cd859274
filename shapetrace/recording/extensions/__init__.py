"""What may be recorded beside the calls: memory, backward, device times."""
