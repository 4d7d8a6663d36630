"""One page about sets and rows."""
