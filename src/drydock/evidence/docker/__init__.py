"""dockerd's own records in its data root."""
