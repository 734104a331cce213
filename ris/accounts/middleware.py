"""Around every request: sessions that end, forms that count once, refusals said in words."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib.auth import logout
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from ris.accounts.models import FormKey, User
from ris.core.errors import BadValue, MissingData, NotAllowed, NotFound, RisError
from ris.core.formats import clock
from ris.core.pages import is_htmx, is_live, see_other, trigger

GetResponse = Callable[[HttpRequest], HttpResponse]

LOCK_URL = "/lock"
_ALWAYS_OPEN = (LOCK_URL, "/logout", "/static/", "/healthz")


class SessionLimitsMiddleware:
    """A session left alone is locked, an old one ends.

    Locked, not ended: the page stays in the browser with what was typed, and the password opens it again.
    A live list's polls are no activity: they would keep an empty chair signed in.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.user.is_authenticated or "_auth_user_id" not in request.session:
            return self.get_response(request)
        session, now = request.session, int(time.time())
        if now - session.setdefault("began", now) > settings.RIS_SESSION_HOURS * 3600:
            logout(request)
            return self.get_response(request)
        if now - session.setdefault("active", now) > settings.RIS_IDLE_MINUTES * 60:
            session["locked"] = True
        if session.get("locked"):
            if request.path.startswith(_ALWAYS_OPEN):
                return self.get_response(request)
            return _locked(request)
        # Written once in a while only: a session write costs more than most pages.
        if not is_live(request) and now - session["active"] > 20:
            session["active"] = now
        return self.get_response(request)


def _locked(request: HttpRequest) -> HttpResponse:
    part = is_htmx(request) or is_live(request) or request.path.startswith("/api/")
    if part or request.method != "GET":
        return HttpResponse(
            "This screen is locked.", status=401, headers={"X-Locked": "1"}, content_type="text/plain"
        )
    return HttpResponseRedirect(f"{LOCK_URL}?{urlencode({'next': request.get_full_path()})}")


class FormKeyMiddleware:
    """A form sent twice acts once: the second answer leads where the first one led.

    Refused forms give their key back, since the same page may be corrected and sent again.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if request.method != "POST" or not isinstance(user, User):
            return self.get_response(request)
        try:
            key = UUID(request.POST.get("form_key", ""))
        except ValueError:
            return self.get_response(request)
        with _one_at_a_time(key):
            form_key, new = FormKey.take(key, user)
            if not new:
                return self._again(request, form_key)
            response = self.get_response(request)
            if response.status_code >= 400:
                form_key.give_back()
            else:
                form_key.answer(response.headers.get("Location") or response.headers.get("HX-Redirect") or "")
            return response

    @staticmethod
    def _again(request: HttpRequest, first: FormKey) -> HttpResponse:
        if first.user_id != request.user.pk or not first.answered:
            return refusal(
                request,
                409,
                f"This form was sent at {clock(first.at)}, but its answer was lost. "
                "Look whether it was done before you send it again.",
            )
        if first.location or not is_htmx(request):
            return see_other(request, first.location or request.get_full_path())
        return HttpResponse(status=204)


@contextmanager
def _one_at_a_time(key: UUID) -> Iterator[None]:
    """A second click waits for the first one's answer; a dying process frees the lock."""
    number = key.int % 2**63
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [number])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [number])


class ErrorsMiddleware:
    """A verb's refusal becomes a page in words; on a page that stays, a notice."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, problem: Exception) -> HttpResponse | None:
        # The API answers in problem+json by its own handler (ris.api).
        if not isinstance(problem, RisError) or request.path.startswith("/api/"):
            return None
        return refusal(request, status_of(problem), problem.message)


def status_of(problem: RisError) -> int:
    if isinstance(problem, NotAllowed):
        return 403
    if isinstance(problem, NotFound):
        return 404
    return 422 if isinstance(problem, MissingData | BadValue) else 409


def refusal(request: HttpRequest, status: int, message: str) -> HttpResponse:
    """The page for a refusal; for htmx an empty answer whose header puts a notice on the page."""
    if is_htmx(request) or is_live(request):
        response = HttpResponse(status=status, headers={"HX-Reswap": "none"})
        return trigger(response, notice={"text": message})
    return render(request, "refused.html", {"message": message, "status": status}, status=status)
