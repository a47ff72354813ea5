"""What pixels are: which way up, on which scale, of which size."""
