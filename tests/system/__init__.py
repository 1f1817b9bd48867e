"""A booted Debian 12, and what must hold in it."""
