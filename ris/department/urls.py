from django.urls import path

from ris.department import views

urlpatterns = [
    path("admin/catalogue/import", views.import_exams, name="catalogue_import"),
    path("admin/catalogue/export", views.export_exams, name="catalogue_export"),
    path("admin/stations/check", views.check_ae_title, name="station_check"),
    *(path(f"admin/{kind}", views.records, {"kind": kind}, name=f"admin_{kind}") for kind in views.KINDS),
    *(
        path(f"admin/{kind}/new", views.record, {"kind": kind}, name=f"admin_{kind}_new")
        for kind in views.KINDS
    ),
    *(
        path(f"admin/{kind}/<int:pk>", views.record, {"kind": kind}, name=f"admin_{kind}_one")
        for kind in views.KINDS
    ),
]
