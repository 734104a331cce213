"""REST /api/v1/: the router of all apps' viewsets, and the one place where refusals become problem+json (RFC 9457)."""

from typing import Any

from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from ris.core import errors

_STATUS: list[tuple[type[errors.RisError], int]] = [
    (errors.NotAllowed, 403),
    (errors.NotFound, 404),
    (errors.IllegalTransition, 409),
    (errors.Conflict, 409),
    (errors.MissingData, 422),
    (errors.BadValue, 422),
]


def status_of(problem: errors.RisError) -> int:
    return next((status for kind, status in _STATUS if isinstance(problem, kind)), 400)


def problem(failure: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every refusal leaves as application/problem+json."""
    if isinstance(failure, errors.RisError):
        body: dict[str, Any] = {"title": failure.message, "status": status_of(failure), "code": failure.code}
        if failure.location:
            body["location"] = failure.location
        return Response(body, status=status_of(failure), content_type="application/problem+json")
    response = exception_handler(failure, context)
    if response is None:
        return None
    body = {"status": response.status_code, "title": _title(failure), "code": _code(failure)}
    if isinstance(failure, exceptions.ValidationError):
        body["errors"] = failure.detail
    response.data = body
    response.content_type = "application/problem+json"
    return response


def _title(failure: Exception) -> str:
    if isinstance(failure, exceptions.ValidationError):
        return "Some values cannot be used."
    return str(getattr(failure, "detail", failure))


def _code(failure: Exception) -> str:
    return str(getattr(failure, "default_code", "refused"))
