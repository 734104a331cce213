from django.urls import path

from ris.patients import views

urlpatterns = [
    path("patients/new", views.new, name="patient_new"),
    path("patients/similar", views.similar, name="patient_similar"),
    path("p/<int:pk>/edit", views.edit, name="patient_edit"),
]
