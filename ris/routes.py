"""REST: the routes of /api/v1/ and the schema that describes them."""

from typing import Any

from django.urls import include, path
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import build_bearer_security_scheme_object
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import AllowAny
from rest_framework.routers import DefaultRouter
from rest_framework.viewsets import ViewSetMixin

from billing.api import ChargeViewSet
from interfaces.api import CaseViewSet, EndpointViewSet, InboundViewSet, OutboundViewSet
from ris.accounts.doors import public
from ris.department.api import PractitionerViewSet, ProcedureTypeViewSet, RoomViewSet, StationViewSet
from ris.exams.api import ExamViewSet, PerformedStepViewSet
from ris.orders.api import OrderViewSet
from ris.patients.api import PatientViewSet
from ris.reporting.api import ReportViewSet
from scheduling.api import AppointmentViewSet, OrderCancellationViewSet, SlotViewSet


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes `Authorization: Token ...`."""

    target_class = "ris.accounts.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return build_bearer_security_scheme_object(header_name="Authorization", token_prefix="Token")


router = DefaultRouter()
router.include_root_view = False
_ROUTES: list[tuple[str, type[ViewSetMixin], str]] = [
    ("patients", PatientViewSet, "patient"),
    ("orders", OrderViewSet, "order"),
    (r"orders/(?P<order_pk>\d+)/cancel", OrderCancellationViewSet, "order-cancel"),
    ("appointments", AppointmentViewSet, "appointment"),
    ("slots", SlotViewSet, "slot"),
    ("exams", ExamViewSet, "exam"),
    ("performed-steps", PerformedStepViewSet, "performed-step"),
    ("reports", ReportViewSet, "report"),
    ("charges", ChargeViewSet, "charge"),
    ("messages/inbound", InboundViewSet, "inbound"),
    ("messages/outbound", OutboundViewSet, "outbound"),
    ("cases", CaseViewSet, "case"),
    ("endpoints", EndpointViewSet, "endpoint"),
    ("rooms", RoomViewSet, "room"),
    ("stations", StationViewSet, "station"),
    ("procedure-types", ProcedureTypeViewSet, "procedure-type"),
    ("practitioners", PractitionerViewSet, "practitioner"),
]
for prefix, viewset, name in _ROUTES:
    router.register(prefix, viewset, basename=f"api-{name}")


urlpatterns = [
    path("v1/", include(router.urls)),
    # The schema tells how to ask, nothing of anybody; scripts read it before they have a token.
    path("schema/", public(SpectacularAPIView.as_view(permission_classes=[AllowAny])), name="api-schema"),
]
