"""Judgement: pure functions from what was read to what it means. No IO, no library."""
