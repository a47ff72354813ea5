"""Measures as pure functions of tensors, one subject a file."""
