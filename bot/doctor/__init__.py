"""``airboss doctor``: proves the walls by trying to cross them, and says what else stands in the way.

Nothing here is believed because it is configured: each login itself is asked to read the signing key, to reach the
control socket, to write the base branch; what it managed is what an agent could do.
"""

from bot.doctor.examine import examine
from bot.doctor.findings import Crossing, Finding, Level, reach_table, status_of, to_json

__all__ = ["Crossing", "Finding", "Level", "examine", "reach_table", "status_of", "to_json"]
