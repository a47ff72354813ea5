"""Protocols that judge what methods predict, a file a kind of result."""
