"""Who may call: the node's bearer token, compared in constant time."""

import hmac

from aiohttp import web

from wings.errors import Refused


class Unauthorized(Refused):
    """No token, or not ours."""

    code = "unauthorized"
    http_status = 401


def require_token(request: web.Request, token: str) -> None:
    """Raise ``Unauthorized`` unless the request carries ``Authorization: Bearer <token>``."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # compare_digest refuses text beyond ASCII, and an attacker may send any.
    matches = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
    if scheme.lower() != "bearer" or not token or not matches:
        raise Unauthorized(
            "the token is missing or wrong; send 'Authorization: Bearer TOKEN' with the one in config.yml"
        )
