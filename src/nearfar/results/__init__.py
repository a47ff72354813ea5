"""What a method predicts, typed: one file a kind of result.

A result is a frozen value with a row for each sample. It can be restricted and joined like a batch,
writes itself in files that others read, and shows itself in pictures.
"""
