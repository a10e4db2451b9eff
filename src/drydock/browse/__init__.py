"""The store in the terminal: a tree by size, what may go of it, and the screens that show both."""
