from django.urls import path

from ris.protocolling import views

urlpatterns = [
    path("admin/protocols", views.catalogue, name="admin_protocols"),
    path("admin/protocols/new", views.protocol, name="admin_protocol_new"),
    path("admin/protocols/<int:pk>", views.protocol, name="admin_protocol"),
    path("admin/protocol-rules", views.rules, name="protocol_rules"),
    path("admin/protocol-rules/exams/<int:pk>", views.exam_rule, name="protocol_exam_rule"),
    path("admin/protocol-rules/bypass", views.bypass, name="protocol_bypass_new"),
    path("admin/protocol-rules/bypass/<int:pk>", views.bypass, name="protocol_bypass"),
]
