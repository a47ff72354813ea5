"""nearfar: self-supervised and contrastive representation learning."""

from __future__ import annotations

__version__ = "0.1.0"
