"""Every door asks for a right by name; what names none stays shut."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import RequestFactory
from rest_framework.request import Request
from rest_framework.views import APIView

from ris.accounts.doors import HasRight, needs, public
from ris.accounts.models import ApiToken, User, create_token
from ris.core.errors import NotAllowed
from tests.cast import person

pytestmark = pytest.mark.django_db


@needs("report.sign")
def sign(request: Any) -> HttpResponse:
    return HttpResponse("signed")


def ask(user: Any, **headers: str) -> Any:
    request = RequestFactory().get("/reports/3?view=all", headers=headers)
    request.user = user
    return request


def test_a_door_opens_for_the_role_that_holds_the_right(settings: Any) -> None:
    settings.RIS_MFA_REQUIRED = False
    assert sign(ask(person("rita"))).content == b"signed"


def test_a_door_stays_shut_for_every_other_role() -> None:
    with pytest.raises(NotAllowed, match="radiologist"):
        sign(ask(person("rene")))


def test_a_door_leads_strangers_to_sign_in_and_back() -> None:
    answer = sign(ask(AnonymousUser()))
    assert (answer.status_code, answer.headers["Location"]) == (
        302,
        "/login?next=%2Freports%2F3%3Fview%3Dall",
    )


@pytest.mark.parametrize("header", ["HX-Request", "X-Live"])
def test_a_part_of_a_page_is_not_answered_with_the_sign_in_page(header: str) -> None:
    answer = sign(ask(AnonymousUser(), **{header: "true" if header == "HX-Request" else "1"}))
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/login")


def test_a_door_names_its_right() -> None:
    assert sign.right == "report.sign"  # type: ignore[attr-defined]
    assert public(lambda request: HttpResponse()).right == ""  # type: ignore[attr-defined]


def test_a_right_that_nobody_defined_is_a_mistake_in_the_code() -> None:
    with pytest.raises(AssertionError):
        needs("report.burn")


class Reports(APIView):
    required_rights = {"get": "report.view", "post": "report.write"}


def allowed(user: Any, method: str, auth: Any = None) -> bool:
    request = Request(getattr(RequestFactory(), method)("/api/v1/reports"))
    request._request.user = user
    request.user, request.auth = user, auth
    return HasRight().has_permission(request, Reports())


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [("rita", "post", True), ("clara", "get", True), ("clara", "post", False), ("rita", "delete", False)],
)
def test_an_api_action_without_a_named_right_is_refused(name: str, method: str, expected: bool) -> None:
    assert allowed(person(name), method) is expected


def test_the_api_knows_no_strangers() -> None:
    assert not allowed(AnonymousUser(), "get")


def test_a_session_without_its_second_factor_does_not_open_the_api_but_a_token_does(settings: Any) -> None:
    settings.RIS_MFA_REQUIRED = True
    user: User = person("rita")
    user.is_verified = lambda: False  # type: ignore[attr-defined]
    assert not allowed(user, "get")
    create_token(user)
    assert allowed(user, "get", ApiToken.objects.get(user=user))
