"""Verdicts made into documents, tables and text. Knows only values."""
