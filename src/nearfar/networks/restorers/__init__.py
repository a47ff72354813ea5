"""Networks from image to image, one kind a file, and the critics that judge what they make."""
