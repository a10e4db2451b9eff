"""BuildKit's own records."""
