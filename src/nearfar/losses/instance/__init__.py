"""Losses of instances that go beyond pairs of views: neighbours from memory, matched graphs."""
