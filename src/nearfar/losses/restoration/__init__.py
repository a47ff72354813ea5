"""Losses and measures of image restoration, one subject a file."""
