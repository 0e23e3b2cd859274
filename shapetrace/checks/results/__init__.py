"""What is made and thrown away, changed in place, or taken twice."""
