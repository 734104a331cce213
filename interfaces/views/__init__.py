"""The console: lines, messages, cases and alarms, and the partners of the admin pages."""
