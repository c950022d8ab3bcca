"""The program's own requests in flight exceed a limit of the account, whatever the path.

Refuted: requests are refused while no other of the program is in flight.
Cause E of the investigation; docs/glossary.md has the words.
"""

CAUSE = "E"
CLAIM = "The program's own requests in flight exceed a limit of the account, whatever the path."
NEEDS = "the error log of the program, with at least five refusals"
