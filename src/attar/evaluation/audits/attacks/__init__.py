"""Attacks on networks, in pixels on [0, 1]: each is a function of what it attacks, images, labels and a ball."""
