"""The doors' lock: which right a page or an API action asks for. What asks for none stays shut."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ris.accounts.models import ApiToken, User
from ris.accounts.permissions import RIGHTS, allowed, require
from ris.core.errors import NotAllowed
from ris.core.pages import is_htmx, is_live

if TYPE_CHECKING:  # APIView itself imports HasRight as its default
    from rest_framework.views import APIView

View = TypeVar("View", bound=Callable[..., HttpResponse])


class UserRequest(HttpRequest):
    """A request behind `needs`: there is a user."""

    user: User


def needs(right: str) -> Callable[[View], View]:
    """The view is for users who hold `right`; others are sent to sign in, or refused with NotAllowed."""
    assert right in RIGHTS, right

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not signed_in(request):
                return _to_sign_in(request)
            _require_person(request.user)
            require(request.user, right)
            return view(request, *args, **kwargs)

        guarded.right = right  # type: ignore[attr-defined]  # read by the test of every route against every role
        return cast(View, guarded)

    return decorate


def is_system(user: object) -> bool:
    """Whether `user` is a service: it acts through its own wire, never at a page or the API."""
    return isinstance(user, User) and user.is_system


def _require_person(user: object) -> None:
    if is_system(user):
        raise NotAllowed("Services do not use pages; sign in as a person.")


def public(view: View) -> View:
    """The view is open to everybody."""
    view.right = ""  # type: ignore[attr-defined]
    return view


def signed_in(request: HttpRequest) -> bool:
    """Whether there is a user, proven by a second factor where the site demands one."""
    if not request.user.is_authenticated:
        return False
    # django-otp's middleware hangs is_verified on the user.
    return not settings.RIS_MFA_REQUIRED or bool(request.user.is_verified())  # type: ignore[attr-defined]


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    back = request.get_full_path() if request.method == "GET" and not is_htmx(request) else ""
    url = f"{settings.LOGIN_URL}?{urlencode({'next': back})}" if back else settings.LOGIN_URL
    if is_htmx(request) or is_live(request):
        return HttpResponse(status=401, headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


class HasRight(BasePermission):
    """An API view names a right for each action: `required_rights = {"list": "order.view", ...}`.

    No name, no entry. A plain APIView names them by method in lower case.
    """

    def has_permission(self, request: Request, view: "APIView") -> bool:
        action = getattr(view, "action", None) or (request.method or "").lower()
        right = getattr(view, "required_rights", {}).get(action)
        if right is None or not request.user or not request.user.is_authenticated:
            return False
        # A token is a factor of its own; a session must have shown its second one.
        if not isinstance(request.auth, ApiToken) and not signed_in(request._request):
            return False
        return not is_system(request.user) and allowed(request.user, right)
