"""Real images chosen."""
