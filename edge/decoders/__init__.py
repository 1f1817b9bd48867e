"""What output tensors mean, one file each; pure functions of the tensors."""
