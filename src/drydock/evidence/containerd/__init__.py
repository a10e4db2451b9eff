"""One containerd root: meta.db, each metadata.db, the content store and the snapshot directories."""
