"""Losses of video."""
