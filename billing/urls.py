from django.urls import path

from billing import views

urlpatterns = [
    path("billing/charges", views.charges, name="charges"),
    path("billing/charges/export", views.export, name="charges_export"),
    path("billing/charges/<int:pk>", views.charge, name="charge"),
    path("billing/charges/<int:pk>/hold", views.stop, {"act": "hold"}, name="charge_hold"),
    path("billing/charges/<int:pk>/void", views.stop, {"act": "void"}, name="charge_void"),
    path("billing/charges/<int:pk>/release", views.release, name="charge_release"),
    path("billing/fees", views.fees, name="fees"),
    path("billing/fees/new", views.fee, name="fee_new"),
    path("billing/fees/<int:pk>", views.fee, name="fee"),
]
