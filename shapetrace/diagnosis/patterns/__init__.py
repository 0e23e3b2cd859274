"""What generators and evidence both look for in a failed program."""
