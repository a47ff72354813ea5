"""Losses of decisions."""
