"""DNS lookups cause connections to the provider that count.

Refuted: no lookup travels over a connection to the provider.
Cause C of the investigation; docs/glossary.md has the words.
"""

CAUSE = "C"
CLAIM = "DNS lookups cause connections to the provider that count."
NEEDS = "{other}, and the error log of the program"
