"""Where a run's functions run, and how: device, precision, compiling, memory."""
