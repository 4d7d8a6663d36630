"""Generative condensation: what is learned are codes of a generator, or the generator itself (GAN codes, DiM)."""
