"""What a container image is, and whether Image streaming can work for it."""
