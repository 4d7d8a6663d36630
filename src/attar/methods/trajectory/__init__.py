"""Networks that learn from the images walk where networks that learn from all data walk."""
