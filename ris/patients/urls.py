from django.urls import path

from ris.patients.views import details, merging

urlpatterns = [
    path("patients/new", details.new, name="patient_new"),
    path("patients/similar", details.similar, name="patient_similar"),
    path("p/<int:pk>/edit", details.edit, name="patient_edit"),
    path("p/<int:pk>/merge", merging.merge, name="patient_merge"),
    path("patients/merges", merging.merges, name="merges"),
    path("patients/merges/<int:pk>", merging.unmerge, name="unmerge"),
]
