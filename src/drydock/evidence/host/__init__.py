"""A host: where engines keep their storage, which processes and mounts use it, and its locks."""
