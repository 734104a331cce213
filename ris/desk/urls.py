from django.urls import include, path

from ris.desk import radar_views, signin, views

urlpatterns = [
    path("", signin.home),
    path("", include("ris.desk.admin_urls")),
    path("login", signin.sign_in),
    path("login/code", signin.code),
    path("login/enrol", signin.enrol),
    path("second-factor", signin.enrol),
    path("lock", signin.lock),
    path("lock/stay", signin.stay),
    path("logout", signin.sign_out),
    path("password", signin.password),
    path("search", views.search_page, name="search"),
    path("search/palette", views.palette, name="palette"),
    path("p/<int:pk>", views.patient, name="patient"),
    path("p/<int:pk>/access-log", views.access_log, name="access_log"),
    path("radar", radar_views.radar, name="radar"),
    path("radar/rules", radar_views.rules, name="radar_rules"),
    path("radar/rules/<str:kind>", radar_views.rule, name="radar_rule"),
    path("radar/completion", radar_views.completion_rule, name="radar_completion_rule"),
    path("radar/<str:kind>/<int:pk>/take", radar_views.take, name="radar_take"),
    path("radar/<str:kind>/<int:pk>/leave", radar_views.leave, name="radar_leave"),
    path("radar/<str:kind>/<int:pk>/snooze", radar_views.snooze, name="radar_snooze"),
    path("radar/<str:kind>/<int:pk>/wake", radar_views.wake, name="radar_wake"),
    path("orders", views.orders, name="orders"),
    path("orders/<int:pk>", views.order, name="order"),
    path("orders/<int:pk>/exam", views.other_exam, name="order_exam"),
    path("orders/<int:pk>/cancel", views.cancel, name="order_cancel"),
]
