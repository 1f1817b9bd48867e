"""Making models on a desktop; never imported on a device."""
