from django.urls import path

from ris.exams import evidence_views, reconcile_views, views

urlpatterns = [
    path("rooms", views.rooms, name="rooms"),
    path("rooms/<slug:code>", views.room, name="room"),
    path("rooms/<slug:code>/scan", views.scan, name="room_scan"),
    path("orders/<int:pk>/start", views.start, name="exam_start"),
    path("orders/<int:pk>/identify", views.identify, name="exam_identify"),
    path("exams/<int:pk>", views.exam, name="exam"),
    path("exams/<int:pk>/complete", views.complete, name="exam_complete"),
    path("exams/<int:pk>/discontinue", views.discontinue, name="exam_discontinue"),
    path("exams/<int:pk>/undo-start", views.undo_start, name="exam_undo_start"),
    path("exams/<int:pk>/comment", views.comment, name="exam_comment"),
    path("exams/<int:pk>/complete-by-evidence", evidence_views.complete, name="exam_complete_by_evidence"),
    path("exams/<int:pk>/reopen", evidence_views.reopen, name="exam_reopen"),
    path("orders/<int:pk>/done-by-evidence", evidence_views.done, name="order_done_by_evidence"),
    path("exams/unmatched", reconcile_views.unmatched, name="unmatched"),
    path("exams/unmatched/<int:pk>", reconcile_views.match, name="unmatched_match"),
    path("exams/unmatched/<int:pk>/orders", reconcile_views.find_orders, name="unmatched_orders"),
    path("exams/unmatched/<int:pk>/discard", reconcile_views.discard, name="unmatched_discard"),
]
