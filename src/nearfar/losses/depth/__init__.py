"""Losses of depth and camera motion learned from video, and the geometry that they need."""
