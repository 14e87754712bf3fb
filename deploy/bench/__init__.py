"""`tally bench`: what the ciphers cost, beside their peers and beside no cipher at all, here and now."""

from __future__ import annotations

from .commands import app

__all__ = ["app"]
