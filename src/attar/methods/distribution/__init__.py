"""Feature distributions matched."""
