"""The first block of a ConvNet in one kernel forward and one backward."""
