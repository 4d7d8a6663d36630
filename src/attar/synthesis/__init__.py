"""What is learned, and the one loop that learns it."""
