"""REST: /api/v1/messages/inbound/, /api/v1/messages/outbound/ and /api/v1/endpoints/."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from interfaces import actions
from interfaces.access import case_for, inbound_for, outbound_for
from interfaces.models import (
    FACT_GROUPS,
    Case,
    Direction,
    Endpoint,
    InboundMessage,
    OutboundMessage,
    Protocol,
)
from ris.audit.api import Reason, RecordViewSet, one_of, user_of


class InboundSerializer(serializers.ModelSerializer[InboundMessage]):
    class Meta:
        model = InboundMessage
        fields = [
            "id", "endpoint", "received_at", "peer", "sender", "control_id", "type", "status", "processed_at", "attempts",
            "ack_code", "repeats", "control_id_reused", "error_code", "error_location", "error_text", "accession_number",
        ]  # fmt: skip


class InboundViewSet(RecordViewSet):
    """What partners sent, and what we answered."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "message.view",
        "retrieve": "message.view",
        "reprocess": "message.act",
    }
    serializer_class = InboundSerializer
    filterset_fields: ClassVar[Any] = ["status", "endpoint", "type", "control_id", "accession_number"]
    ordering_fields: ClassVar[Any] = ["id", "received_at"]
    fetch = staticmethod(inbound_for)

    def get_queryset(self) -> QuerySet[InboundMessage]:
        return InboundMessage.objects.order_by("-id")

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def reprocess(self, request: Request, pk: str) -> Response:
        """Read a refused message again."""
        return self.answer(actions.reprocess(self.record(), by=user_of(request)))


class OutboundSerializer(serializers.ModelSerializer[OutboundMessage]):
    class Meta:
        model = OutboundMessage
        fields = [
            "id", "endpoint", "purpose", "type", "key", "control_id", "created_at", "status", "attempts", "next_attempt_at",
            "sent_at", "answered_at", "ack_code", "error_class", "error_text", "note", "accession_number",
        ]  # fmt: skip


class OutboundViewSet(RecordViewSet):
    """What we send, and what was answered."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "message.view",
        "retrieve": "message.view",
        "resend": "message.act",
        "hold": "message.act",
        "release": "message.act",
        "discard": "message.act",
    }
    serializer_class = OutboundSerializer
    filterset_fields: ClassVar[Any] = ["status", "endpoint", "type", "control_id", "accession_number", "key"]
    ordering_fields: ClassVar[Any] = ["id", "created_at"]
    fetch = staticmethod(outbound_for)

    def get_queryset(self) -> QuerySet[OutboundMessage]:
        return OutboundMessage.objects.order_by("-id")

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resend(self, request: Request, pk: str) -> Response:
        """Send the same bytes again."""
        return self.answer(actions.resend(self.record(), by=user_of(request)))

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, pk: str) -> Response:
        """Keep it back, and what follows it for the same order."""
        return self.answer(
            actions.hold(self.record(), by=user_of(request), reason=self.sent(Reason)["reason"])
        )

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Let a held one go."""
        return self.answer(actions.release(self.record(), by=user_of(request)))

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def discard(self, request: Request, pk: str) -> Response:
        """Give up on it, so that those behind it go on."""
        return self.answer(actions.discard(self.record(), self.sent(Reason)["reason"], by=user_of(request)))


class CaseSerializer(serializers.ModelSerializer[Case]):
    class Meta:
        model = Case
        fields = [
            "id", "kind", "status", "endpoint", "inbound", "outbound", "sentence", "suggestion", "accession_number", "count",
            "opened_at", "last_seen_at", "owner", "closed_at", "closed_by", "note",
        ]  # fmt: skip


class CaseViewSet(RecordViewSet):
    """What messages brought that matches nothing here."""

    required_rights: ClassVar[dict[str, str]] = {"list": "message.view", "retrieve": "message.view"}
    serializer_class = CaseSerializer
    filterset_fields: ClassVar[Any] = ["kind", "status", "endpoint", "owner"]
    ordering_fields: ClassVar[Any] = ["id", "opened_at"]
    fetch = staticmethod(case_for)

    def get_queryset(self) -> QuerySet[Case]:
        return Case.objects.order_by("-id")


class EndpointSerializer(serializers.ModelSerializer[Endpoint]):
    class Meta:
        model = Endpoint
        fields = [
            "id", "name", "protocol", "direction", "address", "ae_title", "match_application", "match_facility",
            "sending_application", "sending_facility", "receiving_application", "receiving_facility", "hl7_version",
            "encoding", "answer_timeout", "profile", "facts", "paused", "active", "failures", "down_since",
            "last_answer_at", "last_error",
        ]  # fmt: skip


class EndpointChangeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=64)
    protocol = serializers.ChoiceField(Protocol.choices, required=False)
    direction = serializers.ChoiceField(Direction.choices, required=False)
    address = serializers.CharField(max_length=255, required=False, allow_blank=True)
    match_application = serializers.CharField(max_length=250, required=False, allow_blank=True)
    match_facility = serializers.CharField(max_length=250, required=False, allow_blank=True)
    hl7_version = serializers.CharField(max_length=10, required=False)
    facts = serializers.ListField(child=serializers.ChoiceField(FACT_GROUPS), required=False)
    profile = serializers.DictField(child=serializers.CharField(allow_blank=True), required=False)


class EndpointViewSet(RecordViewSet):
    """Partners."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "message.view",
        "retrieve": "message.view",
        "create": "endpoint.change",
        "pause": "endpoint.change",
        "resume": "endpoint.change",
    }
    serializer_class = EndpointSerializer
    filterset_fields: ClassVar[Any] = ["protocol", "direction", "paused", "active"]
    ordering_fields: ClassVar[Any] = ["id", "name"]

    @staticmethod
    def fetch(user: Any, pk: int) -> Endpoint:
        endpoint: Endpoint = one_of(Endpoint.objects.all(), pk)
        return endpoint

    def get_queryset(self) -> QuerySet[Endpoint]:
        return Endpoint.objects.order_by("name")

    @extend_schema(request=EndpointChangeSerializer, responses={201: EndpointSerializer})
    def create(self, request: Request) -> Response:
        """Create or change the partner of that name; what is not named stays."""
        data = self.sent(EndpointChangeSerializer)
        return self.answer(actions.save_endpoint(data.pop("name"), data, by=user_of(request)), status=201)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Send nothing for now."""
        return self.answer(actions.pause_endpoint(self.record(), by=user_of(request)))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on sending."""
        return self.answer(actions.resume_endpoint(self.record(), by=user_of(request)))
