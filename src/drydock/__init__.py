"""fsck for container storage: what is there, why, and what can go."""

__version__ = "0.1.0.dev0"
