"""Salvage: a database made new from what can be read of a damaged one."""
