"""What the flight recorder costs a frame."""
