"""`edge run` while other processes burn the cores, without the ladder and with it. `make bench-ladder`."""
