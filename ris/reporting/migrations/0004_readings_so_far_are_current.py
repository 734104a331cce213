"""Every reading of before reports could be taken back is its exam's current one."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("reporting", "0003_reports_are_taken_back")]

    operations = [
        migrations.RunSQL(
            "UPDATE reporting_reportedexam SET current_id = exam_id", reverse_sql=migrations.RunSQL.noop
        )
    ]
