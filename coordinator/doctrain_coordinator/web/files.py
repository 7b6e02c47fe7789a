"""The files of the page, read once: they are part of the program, and nothing else is served."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class File:
    """One of them, and the tag by which browsers know whether theirs is this one."""

    content: bytes
    content_type: str
    tag: str

    def response(self, request: web.Request) -> web.Response:
        """The file, or that the browser has it already."""
        headers = {"Cache-Control": "no-cache", "ETag": f'"{self.tag}"'}
        if any(etag.value == self.tag for etag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self.content, content_type=self.content_type, charset="utf-8", headers=headers)


def read() -> Mapping[str, File]:
    """By path, such as ``/views/fleet.js``; the page itself is ``/``."""
    found = dict(_below(files(__package__) / "page", "/"))
    return {("/" if path == "/index.html" else path): file for path, file in found.items()}


def _below(folder: Traversable, path: str) -> list[tuple[str, File]]:
    found: list[tuple[str, File]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _below(entry, f"{path}{entry.name}/")
        elif (kind := _TYPES.get(f".{entry.name.rpartition('.')[2]}")) is not None:
            content = entry.read_bytes()
            found.append((path + entry.name, File(content, kind, hashlib.sha256(content).hexdigest()[:32])))
    return found
