"""The only code that reads the world: databases, files, processes, mounts. It changes nothing."""
