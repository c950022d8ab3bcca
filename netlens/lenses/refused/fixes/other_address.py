"""The program asks another address of the API, which refuses nothing.

Applies where one address alone refuses while another, asked meanwhile, does not, and no limit that is known explains it.
"""

from __future__ import annotations

import ipaddress
import shlex

from netlens.lenses.refused.fixes import OPEN, PROVIDER, Case, Variant, names
from netlens.lenses.refused.sides import of_one_address

ID = "other-address"
TITLE = "Ask the address of the API that refuses nothing"
RANK = 3
AGAINST = (OPEN, PROVIDER)
CAVEATS = (
    "run it where requests are refused; it pins the API to that address: remove it when the address changes",
    "pin only addresses from a capture of your own",
)


def variants(case: Case) -> list[Variant]:
    """One, if there is such an address."""
    found = of_one_address(case.situation) if case.rule is None else None
    if found is None or not found.other:
        return []
    called = names(case.context)
    where = str(ipaddress.ip_address(found.other))
    command = f"echo {shlex.quote(' '.join((where, *called)))} | sudo tee -a /etc/hosts" if called else None
    note = f"{found.there:,} requests to {where} were accepted while {found.refused:,} to {found.refusing or 'another'} were refused"
    return [Variant(ID, TITLE, None, command, CAVEATS, note)]
