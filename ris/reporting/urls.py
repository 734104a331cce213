from django.urls import path

from ris.reporting import views

urlpatterns = [
    path("reading", views.reading, name="reading"),
    path("reading/pane", views.pane, name="reading_pane"),
    path("reading/views", views.views, name="reading_views"),
    path("reading/discrepancies", views.discrepancies, name="discrepancies"),
    path("reading/discrepancies/<int:pk>/rate", views.rate, name="discrepancy_rate"),
    path("reading/discrepancies/<int:pk>/seen", views.seen, name="discrepancy_seen"),
    path("reading/auto-next", views.auto_next, name="auto_next"),
    path("exams/<int:pk>/read", views.read, name="exam_read"),
    path("reports/<int:pk>", views.report, name="report"),
    path("reports/<int:pk>/draft", views.save, name="report_draft"),
    path("reports/<int:pk>/park", views.park, name="report_park"),
    path("reports/<int:pk>/preliminary", views.preliminary, name="report_preliminary"),
    path("reports/<int:pk>/sign", views.sign, name="report_sign"),
    path("reports/<int:pk>/addendum", views.addendum, name="report_addendum"),
    path("reports/<int:pk>/correction", views.correction, name="report_correction"),
    path("reports/<int:pk>/discard", views.discard, name="report_discard"),
    path("reports/<int:pk>/together", views.together, name="report_together"),
    path("reports/<int:pk>/cancel", views.cancel, name="report_cancel"),
    path("reports/<int:pk>/withdraw", views.withdraw, name="report_withdraw"),
    path("reports/<int:pk>/pdf", views.pdf, name="report_pdf"),
]
