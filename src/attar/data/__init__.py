"""From anyone's files to a task."""
