"""The reference at `/docs`: Swagger UI over `/openapi.json`, from files on this machine. For `main` to add to the routes.

Nothing is read before somebody asks: the bundle has a megabyte and a half, and most services are never asked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Final

from aiohttp import web

from api.problems import Problem

OURS: Final = Path(__file__).parent / "static"
PACKAGE: Final = "drf_spectacular_sidecar"
"""Carries the files of Swagger UI as they were released. Never imported: that would want Django."""
CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
}
BUNDLED: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
PAGE_HEADERS: Final = {
    # `data:` is for the arrows in the bundle's style sheet. Nothing else is let in, and nothing inline.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
FILE_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def bundle() -> Path | None:
    """The folder of Swagger UI's files; None when they are not installed."""
    spec = find_spec(PACKAGE)
    folders = (spec.submodule_search_locations if spec is not None else None) or ()
    found = [Path(one) / "static" / PACKAGE / "swagger-ui-dist" for one in folders]
    return next((one for one in found if one.is_dir()), None)


@dataclass(frozen=True, slots=True)
class Page:
    """The page as it is served, and its files by their addresses."""

    body: bytes
    files: Mapping[str, Path]


def lay_out(files: Iterable[Path]) -> Page:
    """Read all files once. An address has the file's hash in it, so what it leads to never changes."""
    addresses = {path.name: f"docs/{_digest(path)}/{path.name}" for path in files}
    names = {name.replace("-", "_").replace(".", "_"): address for name, address in addresses.items()}
    body = Template((OURS / "docs.html").read_text(encoding="utf-8")).substitute(names)
    return Page(body.encode(), {addresses[path.name]: path for path in files})


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


class Reference:
    """The page and its files."""

    def __init__(self, folder: Path) -> None:
        """`folder` is that of the bundle."""
        self._files = [*(folder / name for name in BUNDLED), OURS / "docs.js", OURS / "docs.css"]
        self._page: Page | None = None

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to the application."""
        return [web.get("/docs", self._show), web.get("/docs/{digest}/{name}", self._file)]

    async def _laid_out(self) -> Page:
        """Not on the loop's thread, as it takes some milliseconds; two at once do no harm."""
        if self._page is None:
            self._page = await asyncio.to_thread(lay_out, self._files)
        return self._page

    async def _show(self, _request: web.Request) -> web.StreamResponse:
        page = await self._laid_out()
        return web.Response(body=page.body, content_type="text/html", charset="utf-8", headers=PAGE_HEADERS)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        page = await self._laid_out()
        path = page.files.get(request.path.removeprefix("/"))
        if path is None:
            raise Problem("not_found", "There is nothing at this path.")
        return web.FileResponse(path, headers={**FILE_HEADERS, "Content-Type": CONTENT_TYPES[path.suffix]})
