"""Losses on pixels, patches, regions and points, one subject a file."""
