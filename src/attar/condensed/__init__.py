"""The artefact: what a method makes and anyone can load."""
