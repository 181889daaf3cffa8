"""Which release this is."""

from __future__ import annotations

VERSION = "0.1.0"
"""The engine's version; the distribution's metadata has the same."""
