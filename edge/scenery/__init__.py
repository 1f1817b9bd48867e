"""Generated pictures of handwritten digits over textures: numpy and OpenCV only."""
