"""What was accepted and has not arrived yet: in a tmpfs, and on disk when it takes long."""
