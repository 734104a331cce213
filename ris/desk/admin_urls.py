from django.urls import path

from ris.desk import admin, auditing, users

urlpatterns = [
    path("admin", admin.index, name="admin"),
    path("admin/rooms/<int:pk>/hours", admin.hours, name="admin_hours"),
    path("admin/templates", admin.templates, name="admin_templates"),
    path("admin/templates/new", admin.template, name="admin_template_new"),
    path("admin/templates/<int:pk>", admin.template, name="admin_template"),
    path("admin/templates/<int:pk>/retire", admin.retire, name="admin_template_retire"),
    path("admin/users", users.users, name="admin_users"),
    path("admin/users/new", users.add, name="admin_user_new"),
    path("admin/users/<int:pk>", users.user, name="admin_user"),
    path("admin/users/<int:pk>/on", users.switch, {"on": True}, name="admin_user_on"),
    path("admin/users/<int:pk>/off", users.switch, {"on": False}, name="admin_user_off"),
    path("admin/users/<int:pk>/password", users.password, name="admin_user_password"),
    path("admin/users/<int:pk>/second-factor", users.second_factor, name="admin_user_second_factor"),
    path("admin/users/<int:pk>/tokens", users.token, name="admin_user_token"),
    path("admin/users/<int:pk>/tokens/<int:token_pk>/revoke", users.revoke, name="admin_token_revoke"),
    path("audit", auditing.audit, name="audit"),
    path("audit/export", auditing.export, name="audit_export"),
]
