from django.urls import path

from interfaces import views

urlpatterns = [
    path("admin/partners", views.partners, name="admin_partners"),
    path("admin/partners/new", views.partner, name="admin_partner_new"),
    path("admin/partners/<int:pk>", views.partner, name="admin_partner"),
    path("admin/partners/<int:pk>/remove", views.remove_partner, name="admin_partner_remove"),
    path("interfaces", views.lines, name="lines"),
    path("interfaces/lines/<int:pk>/pause", views.pause, name="line_pause"),
    path("interfaces/lines/<int:pk>/resume", views.resume, name="line_resume"),
    path("interfaces/in", views.messages, {"way": "in"}, name="messages_in"),
    path("interfaces/out", views.messages, {"way": "out"}, name="messages_out"),
    path("interfaces/in/<int:pk>", views.message_in, name="message_in"),
    path("interfaces/in/<int:pk>/reprocess", views.reprocess, name="message_reprocess"),
    path("interfaces/out/<int:pk>", views.message_out, name="message_out"),
    path("interfaces/out/<int:pk>/resend", views.resend, name="message_resend"),
    path("interfaces/out/<int:pk>/release", views.release, name="message_release"),
    path("interfaces/out/<int:pk>/hold", views.stop, {"act": "hold"}, name="message_hold"),
    path("interfaces/out/<int:pk>/discard", views.stop, {"act": "discard"}, name="message_discard"),
]
