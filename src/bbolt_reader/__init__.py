"""Read-only access to bbolt files: bytes to pages to buckets. Knows nothing of containerd."""
