"""A real browser: which one, and what says loudly that it is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"
NEEDS_CHROMIUM = pytest.mark.skipif(
    not Path(CHROMIUM).exists(),
    reason=f"NOT TESTED: no Chromium at {CHROMIUM}; install it or name one in $CHROMIUM",
)
