"""The latency lab: what a model costs on this device, measured; never imported by the daemon."""
