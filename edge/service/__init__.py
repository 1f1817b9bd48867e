"""The installed service: where its files lie, what of a YAML goes there, what it may do."""
