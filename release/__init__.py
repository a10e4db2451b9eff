"""Makes what is released: the one file for hosts in trouble, and what comes with it."""
