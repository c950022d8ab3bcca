"""Refusals do not depend on any local count.

Refuted: a count separates refused from accepted requests beyond chance.
Cause F of the investigation; docs/glossary.md has the words.
"""

CAUSE = "F"
CLAIM = "Refusals do not depend on any local count."
NEEDS = "the error log of the program, with at least five refusals, and {other}"
