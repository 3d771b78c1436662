"""``GET /``: a page to try the service. It asks the server's own routes, with the key that is typed into it.

The page holds no data: whoever may not score can load it and do nothing with it. What a model or a user wrote goes into
it through ``textContent`` alone, and its content policy names the hashes of its script and style, and this server.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import HTMLResponse

router = APIRouter()
_SHARED = "evaluate/page/assets"
"""Read as files: the package there imports what a server does not need."""


@router.get("/", include_in_schema=False)
async def try_it() -> HTMLResponse:
    """The page."""
    text, policy = page()
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


@functools.cache
def page() -> tuple[str, str]:
    """The page's HTML and its content security policy.

    >>> "script-src 'sha256-" in page()[1] and "unsafe" not in page()[1]
    True
    """
    script = _asset(_SHARED, "dom.js") + _asset("server/assets", "try.js")
    style = _asset(_SHARED, "page.css") + _asset("server/assets", "try.css")
    pieces = _asset("server/assets", "try.html").split("%%")
    parts = {"script": script, "style": style}
    text = "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy


def _asset(folder: str, name: str) -> str:
    return files("rewardkit").joinpath(folder, name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
