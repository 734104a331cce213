"""REST: /api/v1/exams/ and /api/v1/performed-steps/."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from ris.audit.api import Reason, RecordViewSet, one_of, user_of
from ris.department.models import Room
from ris.exams import actions
from ris.exams.access import exam_for
from ris.exams.models import Exam, PerformedProcedureStep
from ris.exams.states import DISCONTINUATION_REASONS
from ris.orders.access import order_for


class ExamSerializer(serializers.ModelSerializer[Exam]):
    accession_number = serializers.CharField(source="order.accession_number", read_only=True)
    patient = serializers.IntegerField(source="order.patient_id", read_only=True)

    class Meta:
        model = Exam
        fields = [
            "id", "order", "accession_number", "patient", "procedure", "room", "station_ae_title", "technologist", "status",
            "status_at", "started_at", "ended_at", "series_count", "image_count", "discontinuation_code",
            "discontinuation_reason", "comment", "version",
        ]  # fmt: skip


class StartSerializer(serializers.Serializer[Any]):
    order = serializers.IntegerField()
    room = serializers.PrimaryKeyRelatedField(queryset=Room.objects.filter(active=True), required=False)


class CompleteSerializer(serializers.Serializer[Any]):
    comment = serializers.CharField(max_length=400, required=False, allow_blank=True)
    series_count = serializers.IntegerField(required=False, min_value=0)
    image_count = serializers.IntegerField(required=False, min_value=0)


class DiscontinueSerializer(serializers.Serializer[Any]):
    code = serializers.ChoiceField(list(DISCONTINUATION_REASONS.items()), help_text="CID 9301")
    comment = serializers.CharField(max_length=400, required=False, allow_blank=True)


class ExamViewSet(RecordViewSet):
    """Exams: started, completed, stopped."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "exam.view",
        "retrieve": "exam.view",
        "create": "exam.perform",
        "complete": "exam.perform",
        "discontinue": "exam.perform",
        "undo_start": "exam.perform",
    }
    serializer_class = ExamSerializer
    filterset_fields: ClassVar[Any] = ["status", "room", "order", "order__accession_number"]
    ordering_fields: ClassVar[Any] = ["id", "started_at", "ended_at"]
    fetch = staticmethod(exam_for)

    def get_queryset(self) -> QuerySet[Exam]:
        return Exam.objects.select_related("order").order_by("-id")

    @extend_schema(request=StartSerializer, responses={201: ExamSerializer(many=True)})
    def create(self, request: Request) -> Response:
        """Begin the exams of an order."""
        data = self.sent(StartSerializer)
        order = order_for(user_of(request), data["order"])
        exams = actions.start_exam(order, by=user_of(request), room=data.get("room"))
        return Response(ExamSerializer(exams, many=True).data, status=201)

    @extend_schema(request=CompleteSerializer)
    @action(detail=True, methods=["post"])
    def complete(self, request: Request, pk: str) -> Response:
        """The images are made."""
        return self.answer(
            actions.complete_exam(self.record(), by=user_of(request), **self.sent(CompleteSerializer))
        )

    @extend_schema(request=DiscontinueSerializer)
    @action(detail=True, methods=["post"])
    def discontinue(self, request: Request, pk: str) -> Response:
        """Stop for a reason; 110514 puts the order back on the worklist."""
        return self.answer(
            actions.discontinue_exam(self.record(), by=user_of(request), **self.sent(DiscontinueSerializer))
        )

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="undo-start")
    def undo_start(self, request: Request, pk: str) -> Response:
        """The wrong entry was started."""
        return self.answer(actions.undo_start(self.record(), by=user_of(request)))


class PerformedStepSerializer(serializers.ModelSerializer[PerformedProcedureStep]):
    class Meta:
        model = PerformedProcedureStep
        fields = [
            "id", "sop_instance_uid", "status", "station_ae_title", "modality", "study_instance_uid", "accession_number",
            "patient_id", "patient_name", "started_at", "ended_at", "exams", "problem",
        ]  # fmt: skip


class MatchSerializer(serializers.Serializer[Any]):
    order = serializers.IntegerField()


class PerformedStepViewSet(RecordViewSet):
    """What modalities reported, matched to an exam or waiting for a person."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "exam.reconcile",
        "retrieve": "exam.reconcile",
        "match": "exam.reconcile",
        "discard": "exam.reconcile",
    }
    serializer_class = PerformedStepSerializer
    filterset_fields: ClassVar[Any] = ["status", "station_ae_title", "problem"]
    ordering_fields: ClassVar[Any] = ["id", "received_at"]

    @staticmethod
    def fetch(user: Any, pk: int) -> PerformedProcedureStep:
        step: PerformedProcedureStep = one_of(PerformedProcedureStep.objects.all(), pk)
        return step

    def get_queryset(self) -> QuerySet[PerformedProcedureStep]:
        return PerformedProcedureStep.objects.prefetch_related("exams").order_by("-id")

    @extend_schema(request=MatchSerializer)
    @action(detail=True, methods=["post"])
    def match(self, request: Request, pk: str) -> Response:
        """Say which order the images belong to."""
        order = order_for(user_of(request), self.sent(MatchSerializer)["order"])
        return self.answer(actions.match_performed_step(self.record(), order, by=user_of(request)))

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def discard(self, request: Request, pk: str) -> Response:
        """Take it off the reconciliation list; it stays stored."""
        return self.answer(
            actions.discard_performed_step(
                self.record(), reason=self.sent(Reason)["reason"], by=user_of(request)
            )
        )
