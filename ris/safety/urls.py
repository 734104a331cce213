from django.urls import path

from ris.safety.views import admin, patient, screening

urlpatterns = [
    path("safety", screening.asked, name="safety"),
    path("orders/<int:pk>/safety", screening.questions, name="safety_order"),
    path("orders/<int:pk>/safety/ask/<slug:rule>", screening.ask, name="safety_ask"),
    path("orders/<int:pk>/safety/clear/<slug:rule>", screening.clear, name="safety_clear"),
    path("p/<int:pk>/safety", patient.chart, name="patient_safety"),
    path("p/<int:pk>/safety/card", patient.card, name="patient_safety_card"),
    path("p/<int:pk>/safety/add/<slug:what>", patient.note, name="safety_note"),
    path("p/<int:pk>/safety/<slug:what>/<int:fact_pk>/withdraw", patient.withdraw, name="safety_withdraw"),
    path("p/<int:pk>/safety/<slug:what>/<int:fact_pk>/verify", patient.verify, name="safety_verify"),
    path("admin/questionnaires", admin.questionnaires, name="questionnaires"),
    path("admin/questionnaires/<int:pk>", admin.questionnaire, name="questionnaire"),
    path("admin/questionnaires/<int:pk>/copy", admin.copy, name="questionnaire_copy"),
    path("admin/questionnaires/<int:pk>/publish", admin.publish, name="questionnaire_publish"),
    path("admin/questionnaires/<int:pk>/discard", admin.discard, name="questionnaire_discard"),
    path("admin/safety-rules", admin.rules, name="safety_rules"),
    path("admin/safety-rules/<slug:code>", admin.rule, name="safety_rule"),
]
