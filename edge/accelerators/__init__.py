"""What can run a forward pass instead of the CPU: one file a kind; knows devices, no engine."""
