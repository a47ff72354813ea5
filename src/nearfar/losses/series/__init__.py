"""Losses of time series."""
