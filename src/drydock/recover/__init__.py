"""Recovering: verify, salvage, repair, export: what is whole, and how to get it out."""
