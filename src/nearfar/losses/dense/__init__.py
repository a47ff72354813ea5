"""Losses of positions and regions."""
