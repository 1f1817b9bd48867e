"""Ours beside its peers: the same model and frames, in one run, in turns. `make bench-peers`."""
