from django.urls import include, path

urlpatterns = [
    path("", include("ris.supervisor.urls")),
    path("", include("ris.desk.urls")),
]

handler403 = "ris.desk.signin.permission_denied"
handler404 = "ris.desk.signin.page_not_found"
