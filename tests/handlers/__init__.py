"""What runs the operator, and what it is told by watches."""
