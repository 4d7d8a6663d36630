"""What else a set is worth: whether it is robust, fair and private, and what its distribution is."""
