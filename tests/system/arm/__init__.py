"""The project on ARM systems under qemu-user, installed as the README tells a Pi owner to.

`make test-arm` runs it; it is no pytest suite, for its steps build on one another.
"""
