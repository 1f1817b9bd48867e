"""Breaks a running daemon by chance, again and again, and sees that nothing accepted is lost.

    make test-faults [N=1000] [SEED=1] [ARGS="--only worker-kill"]

The daemon, mosquitto and everything between them are real. The service manager is played: it has
a notification socket and a watchdog, and starts the daemon again as the unit says.
"""
