"""Power cuts for real: five nodes on a file system that is shut down in the middle of their work."""
