"""Removing: what to remove (policy), whether it may be done now (guard), and doing it (apply, with the knife)."""
