"""REST: /api/v1/appointments/, /api/v1/slots/, and withdrawing an order with its plan."""

from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from ris.audit.api import Reason, RecordViewSet, user_of
from ris.department.models import ProcedureType, Room
from ris.orders.access import order_for
from ris.orders.api import OrderSerializer
from scheduling import actions
from scheduling.access import appointment_for
from scheduling.models import Appointment
from scheduling.slots import find_slots


class AppointmentSerializer(serializers.ModelSerializer[Appointment]):
    starts_at = serializers.DateTimeField(read_only=True)
    ends_at = serializers.DateTimeField(read_only=True)
    accession_number = serializers.CharField(source="order.accession_number", read_only=True)

    class Meta:
        model = Appointment
        fields = [
            "id", "order", "accession_number", "patient", "room", "starts_at", "ends_at", "status", "status_at", "note",
            "overbook_reason", "cancel_reason", "version",
        ]  # fmt: skip


class WhenSerializer(serializers.Serializer[Any]):
    room = serializers.PrimaryKeyRelatedField(queryset=Room.objects.filter(active=True))
    start = serializers.DateTimeField()
    overbook_reason = serializers.CharField(max_length=200, required=False, allow_blank=True)


class NewAppointmentSerializer(WhenSerializer):
    order = serializers.IntegerField()
    note = serializers.CharField(max_length=200, required=False, allow_blank=True)


class MoveSerializer(WhenSerializer):
    version = serializers.IntegerField(required=False)


class SlotSerializer(serializers.Serializer[Any]):
    room = serializers.IntegerField(source="room.pk")
    room_name = serializers.CharField(source="room.name")
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()


class SlotQuerySerializer(serializers.Serializer[Any]):
    procedure_type = serializers.PrimaryKeyRelatedField(queryset=ProcedureType.objects.filter(active=True))
    start = serializers.DateTimeField(required=False)
    days = serializers.IntegerField(required=False, min_value=1, max_value=60)
    room = serializers.PrimaryKeyRelatedField(queryset=Room.objects.filter(active=True), required=False)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=50)


class SlotViewSet(viewsets.ViewSet):
    """Free times for an exam, soonest first."""

    required_rights: ClassVar[dict[str, str]] = {"list": "schedule.view"}

    @extend_schema(parameters=[SlotQuerySerializer], responses=SlotSerializer(many=True))
    def list(self, request: Request) -> Response:
        """The first free times from `start` on over every room that can do the exam."""
        query = SlotQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        data = dict(query.validated_data)
        kind = data.pop("procedure_type")
        start = data.pop("start", None) or timezone.now() + timedelta(minutes=1)
        return Response(SlotSerializer(find_slots(kind, start=start, **data), many=True).data)


class AppointmentViewSet(RecordViewSet):
    """Appointments: booked, moved, confirmed, arrived, cancelled."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "schedule.view",
        "retrieve": "schedule.view",
        "create": "appointment.book",
        "reschedule": "appointment.change",
        "cancel": "appointment.change",
        "confirm": "appointment.change",
        "no_show": "appointment.change",
        "restore": "appointment.change",
        "check_in": "appointment.check_in",
        "undo_check_in": "appointment.check_in",
        "ready": "appointment.check_in",
    }
    serializer_class = AppointmentSerializer
    filterset_fields: ClassVar[Any] = ["status", "room", "patient", "order"]
    ordering_fields: ClassVar[Any] = ["id", "during", "status_at"]
    fetch = staticmethod(appointment_for)

    def get_queryset(self) -> QuerySet[Appointment]:
        return Appointment.objects.select_related("order").order_by("-id")

    @extend_schema(request=NewAppointmentSerializer, responses={201: AppointmentSerializer})
    def create(self, request: Request) -> Response:
        """Book an order; 409 names who has the time and the next that fits."""
        data = self.sent(NewAppointmentSerializer)
        order = order_for(user_of(request), data.pop("order"))
        return self.answer(actions.book(order, by=user_of(request), **data), status=201)

    @extend_schema(request=MoveSerializer)
    @action(detail=True, methods=["post"])
    def reschedule(self, request: Request, pk: str) -> Response:
        """Move it."""
        return self.answer(
            actions.reschedule(self.record(), by=user_of(request), **self.sent(MoveSerializer))
        )

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Give the time back; the order waits to be booked again."""
        return self.answer(
            actions.cancel_appointment(self.record(), by=user_of(request), reason=self.sent(Reason)["reason"])
        )

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def confirm(self, request: Request, pk: str) -> Response:
        """The patient has said they will come."""
        return self.answer(actions.confirm(self.record(), by=user_of(request)))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="check-in")
    def check_in(self, request: Request, pk: str) -> Response:
        """The patient has come."""
        return self.answer(actions.check_in(self.record(), by=user_of(request)))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="undo-check-in")
    def undo_check_in(self, request: Request, pk: str) -> Response:
        """Take a mistaken check-in back."""
        return self.answer(actions.undo_check_in(self.record(), by=user_of(request)))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def ready(self, request: Request, pk: str) -> Response:
        """The patient is prepared."""
        return self.answer(actions.make_ready(self.record(), by=user_of(request)))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="no-show")
    def no_show(self, request: Request, pk: str) -> Response:
        """The patient did not come."""
        return self.answer(actions.mark_no_show(self.record(), by=user_of(request)))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, pk: str) -> Response:
        """Undo a cancellation or no-show when the time is still free."""
        return self.answer(actions.restore_appointment(self.record(), by=user_of(request)))


class OrderCancellationViewSet(viewsets.ViewSet):
    """Withdrawing an order takes its plan with it."""

    required_rights: ClassVar[dict[str, str]] = {"create": "order.cancel"}

    @extend_schema(request=Reason, responses=OrderSerializer)
    def create(self, request: Request, order_pk: str) -> Response:
        """Withdraw the order; 409 once its exam has started."""
        body = Reason(data=request.data)
        body.is_valid(raise_exception=True)
        order = order_for(user_of(request), int(order_pk))
        cancelled = actions.cancel_order(order, reason=body.validated_data["reason"], by=user_of(request))
        return Response(OrderSerializer(cancelled).data)
