"""The provider counts per source address; host and VM share one, and together exceed the limit.

Refuted: requests are refused while the other side is silent as often as while it is busy.
Cause A of the investigation; docs/glossary.md has the words.
"""

CAUSE = "A"
CLAIM = "The provider counts per source address; host and VM share one, and together exceed the limit."
NEEDS = "{other}, and the error log of the program (which requests were refused)"
