"""Where frames come from, one file each; heavy imports only inside functions."""
