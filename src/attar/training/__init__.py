"""Networks trained on anything."""
