"""Removal: what to remove (plan), whether it may be done now (guard), and doing it (execute, with the knife)."""
