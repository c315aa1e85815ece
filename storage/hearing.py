"""How listeners are told what a commit changed. For the two stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


def tell(listener: Callable[[Any], None], event: Any) -> None:
    """Tell one of them. Its bug is the loop's business: it keeps no other one, and no caller, from what was committed."""
    try:
        listener(event)
    except Exception as error:  # noqa: BLE001  # whatever it is
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a listener of the store failed", "exception": error}
        )
