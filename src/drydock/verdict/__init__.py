"""Judgement: pure functions from the evidence to states, classes and findings. No IO, no library."""
