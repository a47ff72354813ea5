"""Losses that make data."""
