"""The latency lab: what a model, an engine, a thread count and the loop cost on this device."""
