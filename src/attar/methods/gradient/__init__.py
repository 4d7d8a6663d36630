"""Gradient matching: networks learn alike from real and from synthetic images (DC, DSA, IDC)."""
