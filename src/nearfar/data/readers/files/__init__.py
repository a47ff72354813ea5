"""Readers of files of which each holds one or several samples of a kind of its own."""
