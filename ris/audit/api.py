"""What every REST list and record share: a right for each action, and a trace of each look."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from ris.accounts.models import User
from ris.audit.trail import record_access


def user_of(request: Request) -> User:
    assert isinstance(request.user, User), "HasRight lets nobody else in"
    return request.user


class RecordViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Any]):
    """A paginated list and single records. Filters and orders come from allow-lists, never from the query's own words."""

    #: Which right each action asks for; an action without one is shut.
    required_rights: ClassVar[dict[str, str]] = {}
    filterset_fields: ClassVar[Any] = []
    ordering_fields: ClassVar[Any] = []
    lookup_value_regex = r"\d+"
    #: The app's one way to fetch a record for a user.
    fetch: Callable[[User, int], Model]

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A page of records."""
        response = super().list(request, *args, **kwargs)
        record_access(request.user, f"{self.basename}.list", count=len(response.data["results"]))
        return response

    def retrieve(self, request: Request, pk: str) -> Response:
        """One record."""
        return self.answer(self.record())

    def record(self) -> Any:
        """The record the URL names, fetched for this user."""
        return type(self).fetch(user_of(self.request), int(self.kwargs["pk"]))

    def answer(self, record: Any, *, status: int = 200) -> Response:
        """The record as the list shows it."""
        return Response(self.get_serializer(record).data, status=status)

    def sent(self, shape: type[serializers.Serializer[Any]], *, partial: bool = False) -> dict[str, Any]:
        """The body in `shape`; raises ValidationError (400) with a sentence at each field."""
        serializer = shape(data=self.request.data, partial=partial, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        data: dict[str, Any] = serializer.validated_data
        return data


def one_of(records: QuerySet[Any], pk: int) -> Any:
    """A record that is no patient's. Raises 404."""
    found = records.filter(pk=pk).first()
    if found is None:
        raise Http404
    return found


class Reason(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=200)
