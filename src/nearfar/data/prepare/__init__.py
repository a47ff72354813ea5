"""Preparations of data before training, as functions of tensors and drawn numbers."""
