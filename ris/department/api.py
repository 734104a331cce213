"""REST: /api/v1/rooms/, /api/v1/stations/, /api/v1/procedure-types/, /api/v1/practitioners/."""

from typing import Any, ClassVar

from rest_framework import mixins, serializers, viewsets

from ris.department.models import Practitioner, ProcedureType, Room, Station


class RoomSerializer(serializers.ModelSerializer[Room]):
    class Meta:
        model = Room
        fields = ["id", "facility", "code", "name", "modality", "detail", "active"]


class StationSerializer(serializers.ModelSerializer[Station]):
    class Meta:
        model = Station
        fields = ["id", "room", "ae_title", "name", "modality", "host", "port", "character_set", "active"]


class ProcedureTypeSerializer(serializers.ModelSerializer[ProcedureType]):
    class Meta:
        model = ProcedureType
        fields = [
            "id", "code", "scheme", "name", "synonyms", "modality", "body_part", "laterality", "duration_minutes", "prep",
            "contrast", "technical_code", "professional_code", "active",
        ]  # fmt: skip


class PractitionerSerializer(serializers.ModelSerializer[Practitioner]):
    class Meta:
        model = Practitioner
        fields = ["id", "identifier", "authority", "family", "given", "prefix", "suffix", "active"]


class _Listed(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Any]):
    """What the department is; it holds nothing of patients, so looks leave no trace."""

    required_rights: ClassVar[dict[str, str]] = {"list": "order.view", "retrieve": "order.view"}
    lookup_value_regex = r"\d+"


class RoomViewSet(_Listed):
    queryset = Room.objects.order_by("position", "code")
    serializer_class = RoomSerializer
    filterset_fields: ClassVar[Any] = ["modality", "active", "code"]


class StationViewSet(_Listed):
    queryset = Station.objects.order_by("ae_title")
    serializer_class = StationSerializer
    filterset_fields: ClassVar[Any] = ["modality", "active", "ae_title"]


class ProcedureTypeViewSet(_Listed):
    queryset = ProcedureType.objects.order_by("code")
    serializer_class = ProcedureTypeSerializer
    filterset_fields: ClassVar[Any] = ["modality", "active", "code"]


class PractitionerViewSet(_Listed):
    queryset = Practitioner.objects.order_by("id")
    serializer_class = PractitionerSerializer
    filterset_fields: ClassVar[Any] = ["active", "identifier"]
