"""Serves `<tapcode-button>`, the element for sites' pages: every version of it, each at an address of its own for good.

For `main` and for `docs`. A site names the version together with the hash of its bytes (subresource integrity), so the
bytes of a version that was released never change.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

FOLDER: Final = Path(__file__).parent / "static" / "button"
FILE: Final = "tapcode-button.js"
HEADERS: Final = {
    "Content-Type": "text/javascript; charset=utf-8",
    "Cache-Control": "public, max-age=31536000, immutable",
    "Access-Control-Allow-Origin": "*",  # a browser checks the hash of a foreign script only if it may read it
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True)
class Script:
    """One version of the element."""

    version: str
    body: bytes

    @property
    def path(self) -> str:
        """Where it is, below the service's address."""
        return f"/button/{self.version}/{FILE}"

    @property
    def integrity(self) -> str:
        """Its hash, as HTML's `integrity` wants it (W3C Subresource Integrity)."""
        return "sha384-" + base64.b64encode(hashlib.sha384(self.body).digest()).decode()

    @cached_property
    def zipped(self) -> bytes:
        """What goes over the wire to nearly everybody."""
        return gzip.compress(self.body, 9, mtime=0)


def scripts() -> dict[str, Script]:
    """All versions, the oldest first."""
    found = [Script(path.parent.name, path.read_bytes()) for path in FOLDER.glob(f"*/{FILE}")]
    return {one.version: one for one in sorted(found, key=lambda one: _order(one.version))}


def _order(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


class Button:
    """The routes of the element's file."""

    def __init__(self, versions: Mapping[str, Script]) -> None:
        self._versions = versions

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to the application."""
        return [web.get(f"/button/{{version}}/{FILE}", self._script)]

    async def _script(self, request: web.Request) -> web.StreamResponse:
        script = self._versions.get(request.match_info["version"])
        if script is None:
            raise web.HTTPNotFound
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            return web.Response(body=script.zipped, headers={**HEADERS, "Content-Encoding": "gzip"})
        return web.Response(body=script.body, headers=HEADERS)
