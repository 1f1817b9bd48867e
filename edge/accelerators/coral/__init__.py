"""Coral Edge TPUs: how they show themselves, what goes wrong with them, what goes together."""
