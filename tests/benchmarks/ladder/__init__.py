"""`edge run` on busy cores, without the ladder and with it. `make bench-ladder`."""
