from django.urls import include, path

urlpatterns = [
    path("", include("ris.supervisor.urls")),
    path("", include("ris.desk.urls")),
    path("", include("ris.exams.urls")),
    path("", include("ris.reporting.urls")),
]

handler403 = "ris.desk.signin.permission_denied"
handler404 = "ris.desk.signin.page_not_found"
