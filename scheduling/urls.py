from datetime import date

from django.urls import path, register_converter

from scheduling import views


class DayConverter:
    """A calendar day as it stands in a URL: 2026-11-19."""

    regex = r"(?:19|20|21)\d\d-\d\d-\d\d"

    def to_python(self, value: str) -> date:
        return date.fromisoformat(value)

    def to_url(self, value: date) -> str:
        return value.isoformat()


register_converter(DayConverter, "day")

urlpatterns = [
    path("board", views.board, name="board"),
    path("board/rooms", views.board_rooms, name="board_rooms"),
    path("schedule", views.schedule, name="schedule"),
    path("schedule/requests", views.requests, name="schedule_requests"),
    path("schedule/book", views.book, name="book"),
    path("schedule/block", views.block, name="block_room"),
    path("schedule/blocks/<int:pk>", views.blocked, name="blocked"),
    path("schedule/blocks/<int:pk>/remove", views.unblock, name="unblock"),
    path("schedule/<day:day>", views.schedule_day, name="schedule_day"),
    path("appointments/<int:pk>", views.appointment, name="appointment"),
    path("appointments/<int:pk>/cancel", views.cancel, name="cancel_appointment"),
    path("appointments/<int:pk>/move", views.move, name="move_appointment"),
    path("appointments/<int:pk>/confirm", views.confirm, name="confirm_appointment"),
    path("appointments/<int:pk>/check-in", views.check_in, name="check_in"),
    path("appointments/<int:pk>/undo-check-in", views.undo_check_in, name="undo_check_in"),
    path("appointments/<int:pk>/ready", views.make_ready, name="make_ready"),
    path("appointments/<int:pk>/undo-ready", views.undo_ready, name="undo_ready"),
    path("appointments/<int:pk>/no-show", views.no_show, name="no_show"),
    path("appointments/<int:pk>/restore", views.restore, name="restore_appointment"),
    path("appointments/<int:pk>/unbook", views.unbook, name="unbook"),
    path("appointments/<int:pk>/performer", views.performer, name="appointment_performer"),
    path("appointments/<int:pk>/label", views.label, name="label"),
]
