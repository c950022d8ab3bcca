"""Which servers showed a certificate that was out of date?

Asks: whether the server's own certificate had expired, or was not valid yet, by the capture's clock, although the client went on.
Applies: to TLS 1.2 and older, where certificates are in the clear. Where a client ended the handshake because of it, the finding is tls-failed.
Cannot see: certificates of TLS 1.3 and of resumed connections; whether the issuer is trusted, the name fits, or the certificate was revoked.
Normal: RFC 5280 4.1.2.5: valid from notBefore to notAfter, both included. A certificate that seems to come into force more than a year after the capture
    shows that the recorder's clock was wrong.
"""

from __future__ import annotations

from netlens.lenses import Finding
from netlens.lenses._validity import certificates, clock_is_wrong, invalid
from netlens.lenses._view import S, View, finding, most
from netlens.lenses.tls_failed import failures
from netlens.text import plural, utc

ID = "certificate-expired"
GROUP = "handshakes"
RANK = 82


def look(view: View) -> list[Finding]:
    outdated = view.once(invalid)
    if not outdated:
        return []
    failed = {f.session for f in view.once(failures)[0]}
    shown = [each for k, each in outdated.items() if k not in failed and not clock_is_wrong(each)]
    if not shown:
        return []
    n, of, many = len(shown), len(view.once(certificates)), len(shown) > 1
    what = most(f"{each.name or view.server(each.shown.session)} ({each.how})" for each in shown)
    end = f"; the {'clients' if many else 'client'} went on all the same" if all(each.went_on for each in shown) else ""
    text = f"{n:,} of {plural(of, 'certificate')} shown by servers {'were' if many else 'was'} out of date: {what}{end}."
    values = {
        "certificates": of,
        "out_of_date": n,
        "names": sorted({each.name for each in shown}),
        "valid_until": sorted({utc(each.shown.leaf.not_after * S) for each in shown}),
    }
    advice = "Renew the certificate: clients that check it will refuse the connection."
    return [finding(view, ID, "note", text, [each.shown.frame for each in shown], values, advice)]
