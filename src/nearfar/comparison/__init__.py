"""Which method is better on these data? Runs under equal conditions, and an honest verdict."""

from __future__ import annotations

from nearfar.comparison.result import Comparison, Entry

__all__ = ["Comparison", "Entry"]
