"""Performance matching: a network that learned from the synthetic images does as well on the real ones (DD, BPTT)."""
