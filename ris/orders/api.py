"""REST: /api/v1/orders/."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from ris.audit.api import Reason, RecordViewSet, user_of
from ris.department.models import Facility, Practitioner, ProcedureType
from ris.orders import actions
from ris.orders.access import order_for, orders_for
from ris.orders.models import Order, RequestedProcedure, Side
from ris.orders.states import Priority
from ris.patients.models import Patient


class ProcedureSerializer(serializers.ModelSerializer[RequestedProcedure]):
    label = serializers.CharField(read_only=True)  # type: ignore[assignment]

    class Meta:
        model = RequestedProcedure
        fields = [
            "id", "number", "procedure_type", "code", "code_text", "code_scheme", "side", "label", "study_instance_uid",
            "requested_procedure_id",
        ]  # fmt: skip


class OrderSerializer(serializers.ModelSerializer[Order]):
    procedures = ProcedureSerializer(many=True, read_only=True)

    class Meta:
        model = Order
        fields = [
            "id", "accession_number", "placer_order_number", "placer_authority", "source", "status", "status_at", "priority",
            "patient", "facility", "visit", "ordering", "reason", "clinical_info", "ordered_at", "wanted_at", "transport",
            "transport_arranged", "callback_phone", "answers", "diagnoses", "weight_kg", "height_m", "parent", "replaces",
            "hold_reason", "cancel_reason", "version", "procedures",
        ]  # fmt: skip


class NewOrderSerializer(serializers.Serializer[Any]):
    patient = serializers.PrimaryKeyRelatedField(queryset=Patient.objects.all())
    facility = serializers.PrimaryKeyRelatedField(queryset=Facility.objects.all(), required=False)
    procedure_type = serializers.PrimaryKeyRelatedField(queryset=ProcedureType.objects.filter(active=True))
    side = serializers.ChoiceField(Side.choices, required=False, allow_blank=True)
    priority = serializers.ChoiceField(Priority.choices, required=False)
    reason = serializers.CharField(max_length=500)
    clinical_info = serializers.CharField(required=False, allow_blank=True)
    ordering = serializers.PrimaryKeyRelatedField(
        queryset=Practitioner.objects.filter(active=True), required=False, allow_null=True
    )
    wanted_at = serializers.DateTimeField(required=False, allow_null=True)
    placer_order_number = serializers.CharField(max_length=64, required=False)
    placer_authority = serializers.CharField(max_length=120, required=False)


class OrderChangeSerializer(serializers.Serializer[Any]):
    priority = serializers.ChoiceField(Priority.choices)
    reason = serializers.CharField(max_length=500)
    clinical_info = serializers.CharField(allow_blank=True)
    wanted_at = serializers.DateTimeField(allow_null=True)
    transport = serializers.CharField(max_length=20, allow_blank=True)
    version = serializers.IntegerField()


class MappingSerializer(serializers.Serializer[Any]):
    procedure = serializers.IntegerField()
    procedure_type = serializers.PrimaryKeyRelatedField(queryset=ProcedureType.objects.filter(active=True))
    side = serializers.ChoiceField(Side.choices, required=False, allow_blank=True)
    remember = serializers.BooleanField(required=False)


class OrderViewSet(RecordViewSet):
    """Orders: placed, changed, held, withdrawn."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "order.view",
        "retrieve": "order.view",
        "create": "order.place",
        "partial_update": "order.change",
        "hold": "order.change",
        "release": "order.change",
        "map_procedure": "order.map_procedure",
    }
    queryset = Order.objects.none()  # for the schema; `get_queryset` asks who is looking
    serializer_class = OrderSerializer
    filterset_fields: ClassVar[Any] = [
        "status",
        "priority",
        "patient",
        "facility",
        "accession_number",
        "placer_order_number",
    ]
    ordering_fields: ClassVar[Any] = ["id", "ordered_at", "status_at", "priority"]
    fetch = staticmethod(order_for)

    def get_queryset(self) -> QuerySet[Order]:
        return orders_for(user_of(self.request)).order_by("-id")

    @extend_schema(request=NewOrderSerializer, responses={201: OrderSerializer})
    def create(self, request: Request) -> Response:
        """Ask for an exam."""
        data = self.sent(NewOrderSerializer)
        facility = data.pop("facility", None) or Facility.objects.earliest("pk")
        order = actions.place_order(actions.NewOrder(facility=facility, **data), by=user_of(request))
        return self.answer(order, status=201)

    @extend_schema(request=OrderChangeSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is asked without changing which exam it is."""
        data = self.sent(OrderChangeSerializer, partial=True)
        version = data.pop("version", None)
        return self.answer(actions.change_order(self.record(), data, by=user_of(request), version=version))

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, pk: str) -> Response:
        """Keep it from being booked."""
        return self.answer(
            actions.hold_order(self.record(), reason=self.sent(Reason)["reason"], by=user_of(request))
        )

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Let it be booked again."""
        return self.answer(actions.release_order(self.record(), by=user_of(request)))

    @extend_schema(request=MappingSerializer)
    @action(detail=True, methods=["post"], url_path="map-procedure")
    def map_procedure(self, request: Request, pk: str) -> Response:
        """Say which exam an unknown code means."""
        data = self.sent(MappingSerializer)
        order = self.record()
        procedure = next((one for one in order.procedures.all() if one.pk == data["procedure"]), None)
        if procedure is None:
            raise serializers.ValidationError({"procedure": "This order has no such procedure."})
        actions.map_procedure(
            procedure, data["procedure_type"], by=user_of(request), remember=data.get("remember", False),
            side=data.get("side", ""),
        )  # fmt: skip
        return self.answer(self.record())
