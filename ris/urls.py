from django.urls import include, path
urlpatterns = [path("", include("ris.supervisor.urls"))]
