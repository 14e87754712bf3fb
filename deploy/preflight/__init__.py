"""`tally preflight`: what would stop a daemon is found before it runs, with what to do (PROTOCOL §10.9)."""

from .command import app

__all__ = ["app"]
