"""The tunnel makes more connections upstream than the program opened.

Refuted: each connection of the program has exactly one upstream.
Cause B of the investigation; docs/glossary.md has the words.
"""

CAUSE = "B"
CLAIM = "The tunnel makes more connections upstream than the program opened."
NEEDS = "{other}, so that each connection of the program is matched with those the tunnel made for it"
