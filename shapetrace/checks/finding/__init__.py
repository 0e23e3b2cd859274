"""What a check is given, what it tells, and how its fixes are tried."""
