"""Repair: the plan that makes one root whole, and what that would lose."""
