"""What plain Python raised around tensors: what was returned, and what was unpacked."""
