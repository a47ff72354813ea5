"""Losses of labels: noise, long tails, discovery, unlearning, few shots."""
