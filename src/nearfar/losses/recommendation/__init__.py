"""Losses of recommendation."""
