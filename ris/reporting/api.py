"""REST: /api/v1/reports/."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from ris.accounts.models import Role
from ris.audit.api import RecordViewSet, user_of
from ris.exams.access import exam_for
from ris.reporting import actions
from ris.reporting.access import report_for
from ris.reporting.models import Draft, Report, ReportPart
from ris.reporting.states import SIGNED, Finding, ReportStatus, WithdrawalReason


class SectionSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(max_length=20, help_text="LOINC, CID 7001")
    title = serializers.CharField(max_length=60)
    text = serializers.CharField(allow_blank=True, trim_whitespace=False)


class PartSerializer(serializers.ModelSerializer[ReportPart]):
    class Meta:
        model = ReportPart
        fields = [
            "number",
            "kind",
            "sections",
            "finding",
            "signed_by",
            "signed_name",
            "released_at",
            "digest",
        ]


class DraftSerializer(serializers.ModelSerializer[Draft]):
    class Meta:
        model = Draft
        fields = ["kind", "sections", "finding", "author", "version", "saved_at"]


class ReportSerializer(serializers.ModelSerializer[Report]):
    exams = serializers.SerializerMethodField()
    parts = PartSerializer(many=True, read_only=True)
    draft = serializers.SerializerMethodField()

    class Meta:
        model = Report
        fields = ["id", "status", "status_at", "exams", "reader", "leased_until", "parts", "draft", "version"]

    def get_exams(self, report: Report) -> list[int]:
        return [one.exam_id for one in report.reported.all()]

    def get_draft(self, report: Report) -> dict[str, Any] | None:
        """The working text, for those who write."""
        user = self.context["request"].user
        if not {Role.RADIOLOGIST, Role.RESIDENT} & set(user.roles):
            return None
        draft = Draft.objects.filter(report=report).first()
        return dict(DraftSerializer(draft).data) if draft else None


class OpenSerializer(serializers.Serializer[Any]):
    exam = serializers.IntegerField()


class VersionSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField(help_text="Of the draft, as you saw it")


class SaveSerializer(VersionSerializer):
    sections = SectionSerializer(many=True)
    finding = serializers.ChoiceField(choices=Finding.choices, required=False)


class CancelSerializer(serializers.Serializer[Any]):
    words = serializers.CharField(max_length=500, required=False, default="")


class WithdrawSerializer(CancelSerializer):
    reason = serializers.ChoiceField(choices=WithdrawalReason.choices)


class MoveReportSerializer(CancelSerializer):
    exam = serializers.IntegerField(help_text="The exam that the text belongs to")


class ReportViewSet(RecordViewSet):
    """Reports: drafted, released, signed, addended, taken back."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "report.view",
        "retrieve": "report.view",
        "create": "report.write",
        "draft": "report.write",
        "preliminary": "report.preliminary",
        "sign": "report.sign",
        "addendum": "report.sign",
        "correction": "report.sign",
        "together": "report.write",
        "cancel": "report.preliminary",
        "withdraw": "report.sign",
        "move": "report.sign",
    }
    queryset = Report.objects.none()  # for the schema; `get_queryset` asks who is looking
    serializer_class = ReportSerializer
    filterset_fields: ClassVar[Any] = ["status", "reader"]
    ordering_fields: ClassVar[Any] = ["id", "status_at"]
    fetch = staticmethod(report_for)

    def get_queryset(self) -> QuerySet[Report]:
        user = user_of(self.request)
        reports = Report.objects.prefetch_related("reported", "parts").order_by("-id")
        if set(user.roles) == {Role.REFERRER}:
            return reports.filter(
                reported__exam__order__ordering__user=user, status__in=[*SIGNED, ReportStatus.WITHDRAWN]
            )
        return reports

    @extend_schema(request=OpenSerializer, responses={201: ReportSerializer})
    def create(self, request: Request) -> Response:
        """Begin or go on reading a completed exam."""
        exam = exam_for(user_of(request), self.sent(OpenSerializer)["exam"])
        return self.answer(actions.open_report(exam, by=user_of(request)), status=201)

    @extend_schema(request=SaveSerializer)
    @action(detail=True, methods=["put"])
    def draft(self, request: Request, pk: str) -> Response:
        """Keep the working text; 409 when it has been changed elsewhere."""
        data = self.sent(SaveSerializer)
        actions.save_draft(
            self.record(), data["sections"], version=data["version"], finding=data.get("finding"),
            by=user_of(request),
        )  # fmt: skip
        return self.answer(self.record())

    @extend_schema(request=VersionSerializer)
    @action(detail=True, methods=["post"])
    def preliminary(self, request: Request, pk: str) -> Response:
        """Release the text unsigned."""
        actions.make_preliminary(
            self.record(), version=self.sent(VersionSerializer)["version"], by=user_of(request)
        )
        return self.answer(self.record())

    @extend_schema(request=VersionSerializer)
    @action(detail=True, methods=["post"])
    def sign(self, request: Request, pk: str) -> Response:
        """Sign the working text: report, addendum or correction."""
        actions.sign_report(
            self.record(), version=self.sent(VersionSerializer)["version"], by=user_of(request)
        )
        return self.answer(self.record())

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def addendum(self, request: Request, pk: str) -> Response:
        """Open an addendum to a signed report."""
        return self.answer(actions.begin_addendum(self.record(), by=user_of(request)))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def correction(self, request: Request, pk: str) -> Response:
        """Open a signed report's whole text again."""
        return self.answer(actions.begin_correction(self.record(), by=user_of(request)))

    @extend_schema(request=OpenSerializer)
    @action(detail=True, methods=["post"])
    def together(self, request: Request, pk: str) -> Response:
        """Read a further exam of the same patient in this report."""
        exam = exam_for(user_of(request), self.sent(OpenSerializer)["exam"])
        return self.answer(actions.add_exam(self.record(), exam, by=user_of(request)))

    @extend_schema(request=CancelSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """End a report before it is signed."""
        words = self.sent(CancelSerializer)["words"]
        return self.answer(actions.cancel_report(self.record(), words=words, by=user_of(request)))

    @extend_schema(request=WithdrawSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take a signed report back; its exams wait to be read anew."""
        data = self.sent(WithdrawSerializer)
        actions.withdraw_report(self.record(), data["reason"], words=data["words"], by=user_of(request))
        return self.answer(self.record())

    @extend_schema(request=MoveReportSerializer)
    @action(detail=True, methods=["post"])
    def move(self, request: Request, pk: str) -> Response:
        """Take a signed report back and begin the right exam's report, which is answered, with its text."""
        data = self.sent(MoveReportSerializer)
        right = exam_for(user_of(request), data["exam"])
        return self.answer(
            actions.move_report(self.record(), right, words=data["words"], by=user_of(request))
        )
