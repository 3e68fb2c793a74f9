"""The chart: its values, its rights, and what a real API server makes of it."""
