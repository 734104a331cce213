from django.urls import include, path

urlpatterns = [
    path("", include("ris.supervisor.urls")),
    path("", include("ris.desk.urls")),
    path("", include("ris.patients.urls")),
    path("", include("ris.orders.urls")),
    path("", include("scheduling.urls")),
    path("", include("ris.exams.urls")),
    path("", include("ris.reporting.urls")),
    path("", include("billing.urls")),
    path("", include("interfaces.urls")),
    path("", include("ris.department.urls")),
    path("api/", include("ris.routes")),
]

handler403 = "ris.desk.signin.permission_denied"
handler404 = "ris.desk.signin.page_not_found"
