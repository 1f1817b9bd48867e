"""What is right and wrong with a device, for `edge doctor`, and what it has, for `edge init`."""
