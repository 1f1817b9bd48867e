"""The daemon: keeps the workers, counts, publishes. No cv2, no engine, no numpy."""
