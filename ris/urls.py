from django.urls import include, path

from interfaces.worklists import needing_somebody
from ris.desk.context import WAITING

urlpatterns = [
    path("", include("ris.supervisor.urls")),
    path("", include("ris.desk.urls")),
    path("", include("ris.patients.urls")),
    path("", include("ris.orders.urls")),
    path("", include("ris.safety.urls")),
    path("", include("ris.protocolling.urls")),
    path("", include("ris.supplies.urls")),
    path("", include("scheduling.urls")),
    path("", include("ris.exams.urls")),
    path("", include("ris.reporting.urls")),
    path("", include("billing.urls")),
    path("", include("interfaces.urls")),
    path("", include("ris.department.urls")),
    path("api/", include("ris.routes")),
]

# The desk knows nothing of the wire; what waits there for an administrator is told here.
WAITING["/interfaces"] = ("message.act", needing_somebody)

handler403 = "ris.desk.signin.permission_denied"
handler404 = "ris.desk.signin.page_not_found"
