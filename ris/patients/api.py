"""REST: /api/v1/patients/."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from ris.audit.api import RecordViewSet, user_of
from ris.audit.trail import record_access
from ris.core.names import PersonName
from ris.patients.access import patient_for
from ris.patients.actions import NewIdentifier, NewPatient, register_patient, update_patient
from ris.patients.models import Patient, PatientIdentifier, Sex
from ris.patients.search import search_patients


class IdentifierSerializer(serializers.ModelSerializer[PatientIdentifier]):
    class Meta:
        model = PatientIdentifier
        fields = ["value", "authority", "type", "primary"]
        read_only_fields = ["primary"]
        validators: ClassVar[list[Any]] = []  # the verb decides whose number it is


_NAME = ["family", "given", "middle", "prefix", "suffix", "ideographic", "phonetic"]
_DETAILS = ["phone", "mobile", "email", "address", "language", "allergies", "alerts"]


class PatientSerializer(serializers.ModelSerializer[Patient]):
    identifiers = IdentifierSerializer(many=True)
    birth_date = serializers.CharField(
        max_length=10, required=False, allow_blank=True, help_text="YYYY, YYYY-MM or YYYY-MM-DD"
    )

    class Meta:
        model = Patient
        fields = [
            "id",
            *_NAME,
            "birth_date",
            "sex",
            *_DETAILS,
            "died_on",
            "merged_into",
            "version",
            "identifiers",
        ]
        read_only_fields = ["merged_into", "died_on"]
        extra_kwargs: ClassVar[dict[str, Any]] = {"version": {"required": False}}


class SearchSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=200)


class PatientViewSet(RecordViewSet):
    """Patients. Search goes by POST, so that names stay out of logs."""

    required_rights: ClassVar[dict[str, str]] = {
        "list": "patient.view",
        "retrieve": "patient.view",
        "create": "patient.register",
        "partial_update": "patient.update",
        "search": "patient.view",
    }
    serializer_class = PatientSerializer
    filterset_fields: ClassVar[Any] = ["sex", "merged_into"]
    ordering_fields: ClassVar[Any] = ["id", "registered_at"]
    fetch = staticmethod(patient_for)

    def get_queryset(self) -> QuerySet[Patient]:
        return Patient.objects.prefetch_related("identifiers").order_by("id")

    def create(self, request: Request) -> Response:
        """Register a patient; without an identifier the facility's next own number is given."""
        data = self.sent(_NewPatient)
        patient = register_patient(
            NewPatient(
                name=PersonName(**{key: data.get(key, "") for key in _NAME}),
                identifiers=tuple(NewIdentifier(**one) for one in data.get("identifiers", [])),
                birth_date=data.get("birth_date", ""),
                sex=data.get("sex", Sex.UNKNOWN),
                details={key: data[key] for key in _DETAILS if key in data},
            ),
            by=user_of(request),
        )
        return self.answer(patient, status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change details; send the `version` you saw to be told when somebody else changed the record since."""
        data = self.sent(_NewPatient, partial=True)
        version = data.pop("version", None)
        identifiers = tuple(NewIdentifier(**one) for one in data.pop("identifiers", []))
        patient = update_patient(
            self.record(), data, by=user_of(request), version=version, identifiers=identifiers
        )
        return self.answer(patient)

    @extend_schema(request=SearchSerializer, responses=PatientSerializer(many=True))
    @action(detail=False, methods=["post"])
    def search(self, request: Request) -> Response:
        """Find by name fragments, birth year or date, MRN, phone tail; the likeliest first."""
        found = list(search_patients(self.sent(SearchSerializer)["text"], limit=20))
        record_access(request.user, "patient.search", count=len(found))
        return Response(PatientSerializer(found, many=True).data)


class _NewPatient(PatientSerializer):
    identifiers = IdentifierSerializer(many=True, required=False)
