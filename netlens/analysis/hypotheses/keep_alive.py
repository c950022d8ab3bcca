"""Connections or requests stay counted after the program was done with them.

Refuted: upstream connections end when the program's end.
Cause D of the investigation; docs/glossary.md has the words.
"""

CAUSE = "D"
CLAIM = "Connections or requests stay counted after the program was done with them."
NEEDS = "{other}: when the program was done is seen on the VM, how long the provider's side lived on the host"
