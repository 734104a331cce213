"""Every route and every API action against every role: a route without a row here fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from ris.accounts.models import Role, User
from ris.accounts.permissions import RIGHTS
from tests.architecture.rows import ROWS


@dataclass(frozen=True)
class Route:
    """One method of one path; `right` is what the view itself asks for, "" when it is open, None when it says nothing."""

    method: str
    path: str
    right: str | None

    @property
    def row(self) -> str:
        return f"{self.method} {self.path}"


def _routes(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[Route]:
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern).lstrip("^").rstrip("$").replace("\\Z", "")
        if isinstance(entry, URLResolver):
            yield from _routes(entry, path)
        elif not path.endswith(r"(?P<format>[a-z0-9]+)/?"):
            yield from _methods(entry, path)


def _methods(entry: URLPattern, path: str) -> Iterator[Route]:
    view: Any = entry.callback
    actions = getattr(view, "actions", None)
    if actions:  # a viewset: one right for each action
        for method, action in sorted(actions.items()):
            if method != "head":
                yield Route(method.upper(), path, view.cls.required_rights.get(action))
        return
    yield Route("ANY", path, getattr(view, "right", None))


ROUTES = sorted(set(_routes()), key=lambda route: (route.path, route.method))


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    found = {route.row: route.right for route in ROUTES}
    missing = {row: right for row, right in found.items() if row not in ROWS}
    assert missing == {}, "routes without a row"
    assert [row for row in ROWS if row not in found] == [], "rows without a route"


def _rights(route: Route) -> tuple[str, str]:
    """What looking asks for, and what acting asks for."""
    row = ROWS[route.row]
    return (row, row) if isinstance(row, str) else row


def test_the_view_asks_for_the_right_of_its_row() -> None:
    assert [route for route in ROUTES if route.right != _rights(route)[0]] == []


def _concrete(path: str) -> str:
    """The path with each variable filled in: of records that do not exist, so that nothing changes."""
    import re

    path = re.sub(r"\(\?P<\w*(pk|id|number)>[^)]*\)", "987654", path)
    path = re.sub(r"<int:\w+>", "987654", path)
    path = re.sub(r"<(date|day):\w+>|<\w*:?(day|date)>", "2026-11-19", path)
    return re.sub(r"<(\w+:)?\w+>", "none", path)


def _is_shut(status: int, location: str) -> bool:
    """Whether the door kept somebody out."""
    return status in {401, 403} or (status in {302, 303} and location.startswith("/login"))


def _client(role: Role | None) -> Client:
    client = Client(raise_request_exception=False)
    if role is not None:
        user, _ = User.objects.get_or_create(username=f"only.{role}", defaults={"roles": [role]})
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.django_db
def test_each_role_passes_its_doors_and_no_others() -> None:
    wrong = []
    for role in [None, *Role]:
        client = _client(role)
        for route in ROUTES:
            for method in ["GET", "POST"] if route.method == "ANY" else [route.method]:
                path = _concrete(route.path)
                answer = client.generic(method, path, data=b"{}", content_type="application/json")
                shut = _is_shut(answer.status_code, answer.headers.get("Location", ""))
                right = _rights(route)[0 if method == "GET" else 1]
                if right == "":
                    # An open page may send somebody to sign in, but refuses nobody.
                    fine = answer.status_code not in {401, 403} and answer.status_code < 500
                    client = _client(role)  # it may have ended the session
                elif role not in {None, Role.SYSTEM} and str(role) in RIGHTS[right]:
                    fine = not shut and answer.status_code < 500
                else:
                    fine = shut or answer.status_code == 405
                if not fine:
                    wrong.append(f"{role or 'anonymous'} {method} {path} -> {answer.status_code}")
    assert wrong == []
