"""Repair: the plan that repairs one root, and what it would lose."""
