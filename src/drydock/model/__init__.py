"""Values only: the evidence as it was read, verdicts, plans and results. Standard library only, except documents/.

Modules with many named tuples have no ``from __future__ import annotations``: with it, Python compiles the annotation
of each field when it makes the class, which a start has to wait for.
"""
