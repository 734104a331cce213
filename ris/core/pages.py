"""What every page answers the same way: words after an act, where to go next, unchanged lists."""

import json
from typing import TypeVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse

_Response = TypeVar("_Response", bound=HttpResponse)


def is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def is_live(request: HttpRequest) -> bool:
    """Whether a list on a page asks for news of itself; nobody sits behind such a request."""
    return request.headers.get("X-Live") == "1"


def unchanged(request: HttpRequest, version: object) -> bool:
    """Whether the list that asks already shows `version`; the answer is then an empty 204."""
    return is_live(request) and request.GET.get("since") == str(version)


def trigger(response: _Response, **events: object) -> _Response:
    """Add htmx events for the page. The header is ASCII, so names survive as escapes."""
    known = json.loads(response.headers.get("HX-Trigger", "{}"))
    response.headers["HX-Trigger"] = json.dumps({**known, **events})
    return response


def toast(request: HttpRequest, response: _Response, text: str, *, undo: str = "") -> _Response:
    """Say `text` on the page, with Undo when `undo` is a URL that takes it back by POST."""
    if is_htmx(request) and "HX-Redirect" not in response.headers:
        return trigger(response, toast={"text": text, "undo": undo})
    # The session keeps it until the next page: a cookie would carry a patient's name.
    messages.success(request, text, extra_tags=undo)
    return response


def see_other(request: HttpRequest, url: str, text: str = "", *, undo: str = "") -> HttpResponse:
    """After a POST, send the browser to `url` by GET and say `text` there."""
    headers = {"HX-Redirect": url} if is_htmx(request) else {"Location": url}
    response = HttpResponse(status=200 if is_htmx(request) else 303, headers=headers)
    return toast(request, response, text, undo=undo) if text else response
