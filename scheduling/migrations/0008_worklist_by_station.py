from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('scheduling', '0007_step_may_go_on'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='scheduledprocedurestep',
            index=models.Index(models.F('station_ae_titles__0'), models.F('starts_at'), condition=models.Q(('status__in', ['scheduled', 'arrived', 'ready', 'started'])), name='steps_on_worklist_station'),
        ),
        migrations.AddIndex(
            model_name='scheduledprocedurestep',
            index=models.Index(condition=models.Q(('station_ae_titles__1__isnull', False), ('status__in', ['scheduled', 'arrived', 'ready', 'started'])), fields=['starts_at'], name='steps_of_several_stations'),
        ),
    ]
