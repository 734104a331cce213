"""REST: /api/v1/charges/."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from billing import actions
from billing.access import charge_for
from billing.models import Charge
from ris.audit.api import Reason, RecordViewSet, user_of


class ChargeSerializer(serializers.ModelSerializer[Charge]):
    accession_number = serializers.CharField(source="exam.order.accession_number", read_only=True)
    patient = serializers.IntegerField(source="exam.order.patient_id", read_only=True)

    class Meta:
        model = Charge
        fields = [
            "id", "exam", "procedure", "accession_number", "patient", "component", "code", "modifiers", "amount", "currency",
            "status", "status_at", "captured_at", "sent_at", "sent_as", "reason", "version",
        ]  # fmt: skip


class ChargeViewSet(RecordViewSet):
    """Charges: captured by the work itself, held, released, voided."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "charge.view",
        "retrieve": "charge.view",
        "hold": "charge.change",
        "release": "charge.change",
        "void": "charge.change",
    }
    serializer_class = ChargeSerializer
    filterset_fields: ClassVar[Any] = ["status", "component", "exam"]
    ordering_fields: ClassVar[Any] = ["id", "captured_at", "amount"]
    fetch = staticmethod(charge_for)

    def get_queryset(self) -> QuerySet[Charge]:
        return Charge.objects.select_related("exam__order").order_by("-id")

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, pk: str) -> Response:
        """Keep it from being sent."""
        return self.answer(
            actions.hold_charge(self.record(), reason=self.sent(Reason)["reason"], by=user_of(request))
        )

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Let it go; it is priced again."""
        return self.answer(actions.release_charge(self.record(), by=user_of(request)))

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def void(self, request: Request, pk: str) -> Response:
        """Take it back."""
        return self.answer(
            actions.void_charge(self.record(), reason=self.sent(Reason)["reason"], by=user_of(request))
        )
