"""One file a check: every module here is found by itself."""
