"""The version of this program: a module of its own, so that a report may name it and import nothing else."""

__version__ = "0.1.0"
