"""Heads over clips."""
