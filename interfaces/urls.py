from django.urls import path

from interfaces.views import lines, messages, partners

urlpatterns = [
    path("admin/partners", partners.partners, name="admin_partners"),
    path("admin/partners/new", partners.partner, name="admin_partner_new"),
    path("admin/partners/<int:pk>", partners.partner, name="admin_partner"),
    path("admin/partners/<int:pk>/remove", partners.remove_partner, name="admin_partner_remove"),
    path("admin/partners/<int:pk>/contract", partners.contract_page, name="partner_contract"),
    path("interfaces/bench", partners.bench, name="message_bench"),
    path("interfaces", lines.lines, name="lines"),
    path("interfaces/lines/<int:pk>/pause", lines.pause, name="line_pause"),
    path("interfaces/lines/<int:pk>/resume", lines.resume, name="line_resume"),
    path("interfaces/in", messages.messages, {"way": "in"}, name="messages_in"),
    path("interfaces/out", messages.messages, {"way": "out"}, name="messages_out"),
    path("interfaces/in/<int:pk>", messages.message_in, name="message_in"),
    path("interfaces/in/<int:pk>/reprocess", messages.reprocess, name="message_reprocess"),
    path("interfaces/out/<int:pk>", messages.message_out, name="message_out"),
    path("interfaces/out/<int:pk>/resend", messages.resend, name="message_resend"),
    path("interfaces/out/<int:pk>/release", messages.release, name="message_release"),
    path("interfaces/out/<int:pk>/hold", messages.stop, {"act": "hold"}, name="message_hold"),
    path("interfaces/out/<int:pk>/discard", messages.stop, {"act": "discard"}, name="message_discard"),
]
