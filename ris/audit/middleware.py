from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from ris.audit.trail import working_for


class RequestSourceMiddleware:
    """Names the client's address as the source of every audit row a request writes."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with working_for(request.META.get("REMOTE_ADDR", "")):
            return self.get_response(request)
