from django.urls import path

from ris.desk import signin

urlpatterns = [
    path("", signin.home),
    path("login", signin.sign_in),
    path("login/code", signin.code),
    path("login/enrol", signin.enrol),
    path("second-factor", signin.enrol),
    path("lock", signin.lock),
    path("lock/stay", signin.stay),
    path("logout", signin.sign_out),
    path("password", signin.password),
]
