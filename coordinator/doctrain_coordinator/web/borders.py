"""What every answer carries and every request must: headers that shut the page in, a host that is this one, errors as JSON."""

from __future__ import annotations

import re
from http import HTTPStatus

import grpc
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from doctrain_coordinator.web import answers
from doctrain_mesh import rpc
from doctrain_mesh.errors import DoctrainError, InvalidRequestError, PermissionDeniedError, RequestTooLargeError
from doctrain_mesh.network.addresses import is_loopback

HEADERS = {
    # The page is made of its own files alone, and nothing that a tenant wrote can become a part of it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Server": "doctrain",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")


class Connection(web.RequestHandler):
    """A connection of a browser; what it sends that is no HTTP is answered here, for no application hears of it."""

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """A fixed sentence in the place of the library's, which repeats what was sent."""
        answer = super().handle_error(request, status, exc, message)
        if status == HTTPStatus.BAD_REQUEST:
            answer = answers.refusal(
                InvalidRequestError("This is no request of HTTP that can be read here; open the dashboard in a browser.")
            )
            answer.force_close()
        _add_headers(answer)
        return answer


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Those of every answer; what is no file of the page is kept by nobody."""
    _add_headers(response)


def _add_headers(response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever is raised into a sentence."""
    try:
        return await handler(request)
    except RequestTooLargeError as error:
        return answers.refusal(error, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except DoctrainError as error:
        return answers.refusal(error)
    except grpc.aio.AioRpcError as error:
        return answers.failure(error)
    except web.HTTPException as error:
        return answers.refusal(InvalidRequestError(f"{error.reason}: there is nothing of the kind here."), HTTPStatus(error.status))
    except (ConnectionError, TimeoutError):  # the client has gone, or takes nothing more
        raise
    except Exception as error:
        return answers.refusal(rpc.internal(error, request.path))


def only_as_this_machine(host: str) -> Middleware:
    """Of a page on a loopback address, lets in only what names one: a foreign name that leads here is somebody else's page."""
    local = is_loopback(host)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        named = _HOST.fullmatch(request.host)
        if local and (named is None or not is_loopback(named["name"])):
            return answers.refusal(
                PermissionDeniedError("This dashboard serves its own machine alone; open it as localhost, with its port."),
                HTTPStatus.MISDIRECTED_REQUEST,
            )
        return await handler(request)

    return check
