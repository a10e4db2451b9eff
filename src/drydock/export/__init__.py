"""Export: images and container file systems as archives."""
