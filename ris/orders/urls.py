from django.urls import path

from ris.orders import views

urlpatterns = [
    path("orders/new", views.new, name="order_new"),
    path("orders/new/<int:patient_pk>/exam", views.exam_facts, name="order_exam_facts"),
    path("orders/<int:pk>/change", views.change, name="order_change"),
    path("orders/<int:pk>/hold", views.hold, name="order_hold"),
    path("orders/<int:pk>/release", views.release, name="order_release"),
    path("orders/<int:pk>/side", views.side, name="order_side"),
    path("orders/<int:pk>/match/<int:procedure_pk>", views.match, name="order_match"),
    path("catalogue/search", views.catalogue_search, name="catalogue_search"),
    path("practitioners/search", views.practitioner_search, name="practitioner_search"),
]
