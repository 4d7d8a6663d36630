"""A request becomes a folder."""
