"""``airboss doctor``: tests the isolation by trying to break it, and reports what else needs attention.

It does not trust the configuration: under each login it tries to read the signing key, to connect to the control
socket and to write the base branch. What succeeds, an agent could do too.
"""

from bot.doctor.examine import examine
from bot.doctor.findings import Crossing, Finding, Severity, reach_table, status_of, to_json

__all__ = ["Crossing", "Finding", "Severity", "examine", "reach_table", "status_of", "to_json"]
