"""One module for each command: what it does to a place, as a function with types."""
