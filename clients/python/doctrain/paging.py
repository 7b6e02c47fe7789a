"""Lists that a service tells page after page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Protocol, TypeVar

import grpc.aio

from doctrain.endpoints import Endpoint, Endpoints


class _Request(Protocol):
    page_token: str


class _Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


Request = TypeVar("Request", bound=_Request)
Page = TypeVar("Page", bound=_Page)
Item = TypeVar("Item")


async def listed(
    endpoints: Endpoints,
    operation: str,
    method: Callable[[Endpoint], grpc.aio.UnaryUnaryMultiCallable[Request, Page]],
    request: Request,
    items: Callable[[Page], Iterable[Item]],
    *,
    seconds: float,
) -> AsyncGenerator[Item, None]:
    """What is on each page, from the first one on; a page is asked for when it is read, and has ``seconds`` to come."""
    while True:
        page = await endpoints.call(operation, method, request, seconds=seconds)
        for item in items(page):
            yield item
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
