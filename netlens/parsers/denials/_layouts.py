"""Protocols whose servers say yes and no at fixed places: a table instead of a file each.

A protocol is some :class:`Sort` of messages. A message is of a sort if these bytes stand at these places and the status, a number at a place, has a meaning;
the first sort that fits counts. What fits none says nothing.

Sources: NBD (its doc/proto.md: replies to options; that an option is not known is ordinary), iSCSI (RFC 7143 11.13, 11.13.5), OPC UA (part 4 7.34, part 6
5.2.2.9, 6.7, 7.1.2.5: a ServiceFault, a session that is activated, an error), EAP in frames of 802.1X (IEEE 802.1X-2010 11.3, RFC 3748 4.2), beanstalkd (its
doc/protocol.txt), iperf3 (iperf_api.h: the first byte says whether a test may begin; a server has one at a time), Subversion (libsvn_ra_svn/protocol: an answer
to a login, a repository that is not there or closed), LPD (RFC 1179 3.1, 6: one octet acknowledges; zero says yes, what lists a queue begins by text), NAT-PMP
and PCP (RFC 6886 3.3, 3.5; RFC 6887 7.2, 7.4: a version that is not known is ordinary, the client takes the other; so is a router that maps nothing, which
counts where a client asks again and again), NetBIOS' name servers and holders of names (RFC 1002 4.2.6, 4.2.8: names of hosts and workgroups; of browsers and
users several may be wanted, by turns), UPSes (RFC 9271 4.2, 5: what a version or a driver does not know is ordinary).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from netlens.parsers.denials._kinds import At


class Sort(NamedTuple):
    """Messages of one sort.

    begins : (place, bytes) that must stand there.  status : place, bytes and order of the status.  words : by status the refusal in words, "" if it grants.
    length : of the message; 0 any.
    """

    begins: tuple[tuple[int, bytes], ...]
    status: tuple[int, int, Literal["big", "little"]]
    words: dict[int, str]
    length: int = 0


@dataclass
class Layout:
    """A protocol by the sorts of its messages; it is a :class:`netlens.parsers.denials._kinds.Denying`."""

    ID: str
    NAME: str
    AT: At
    sorts: tuple[Sort, ...]
    DAILY: tuple[str, ...] = ()
    LAST: tuple[str, ...] = ()
    AGAIN: tuple[str, ...] = ()
    CHALLENGES: tuple[str, ...] = ()
    APART: bool = False
    CHECKS: tuple[str, ...] = ()
    TURNS: tuple[str, ...] = ()
    REPEATED: tuple[str, ...] = ()

    def read(self, message: bytes, length: int, /) -> str | None:
        """By the first sort that fits."""
        for sort in self.sorts:
            place, size, order = sort.status
            if len(message) < place + size or (sort.length and sort.length != length):
                continue
            no = sort.words.get(int.from_bytes(message[place : place + size], order))
            if no is not None and all(message[at : at + len(there)] == there for at, there in sort.begins):
                return no
        return None


_NBD_REPLY = (0, b"\x00\x03\xe8\x89\x04\x55\x65\xa9")
_NBD_ERRORS = {
    1 << 31 | 2: "policy", 1 << 31 | 4: "platform", 1 << 31 | 5: "TLS required", 1 << 31 | 6: "export not known", 1 << 31 | 7: "shutting down",
    1 << 31 | 9: "too big",
}  # fmt: skip
_ISCSI_LOGINS = {
    0x0200: "initiator error (0200) to the login", 0x0201: "authentication failure (0201) to the login", 0x0202: "authorization failure (0202) to the login",
    0x0203: "target not found (0203) to the login", 0x0204: "target removed (0204) to the login", 0x0205: "version not supported (0205) to the login",
    0x0206: "too many connections (0206) to the login", 0x0207: "missing parameter (0207) to the login", 0x0208: "can't include in session (0208) to the login",
    0x0209: "session type not supported (0209) to the login", 0x020A: "session does not exist (020a) to the login",
    0x020B: "invalid during login (020b) to the login", 0x0300: "target error (0300) to the login", 0x0301: "service unavailable (0301) to the login",
    0x0302: "out of resources (0302) to the login",
}  # fmt: skip
_OPC_UA = {
    0x800E0000: "BadServerHalted", 0x80120000: "BadCertificateInvalid", 0x80130000: "BadSecurityChecksFailed", 0x80140000: "BadCertificateTimeInvalid",
    0x80160000: "BadCertificateHostNameInvalid", 0x80170000: "BadCertificateUriInvalid", 0x80180000: "BadCertificateUseNotAllowed",
    0x801A0000: "BadCertificateUntrusted", 0x801D0000: "BadCertificateRevoked", 0x801F0000: "BadUserAccessDenied", 0x80200000: "BadIdentityTokenInvalid",
    0x80210000: "BadIdentityTokenRejected", 0x80540000: "BadSecurityModeRejected", 0x80550000: "BadSecurityPolicyRejected", 0x80560000: "BadTooManySessions",
    0x80580000: "BadApplicationSignatureInvalid", 0x807D0000: "BadTcpServerTooBusy", 0x80800000: "BadTcpMessageTooLarge",
    0x80810000: "BadTcpNotEnoughResources", 0x80830000: "BadTcpEndpointUrlInvalid",
}  # fmt: skip
_CHUNK = (0, b"MSGF")  # final, and not encrypted, as the type behind the headers shows
_SVN_LOGIN, _SVN_ERROR = b"( failure ( ", b"( failure ( ( "

_LPD = {n: f"negative acknowledgement ({n})" for n in range(1, 32) if n not in (9, 10, 13)}  # no white space of a list
_NAT_PMP = {2: "not authorized (2)", 3: "network failure (3)", 4: "out of resources (4)", 5: "opcode not supported (5)"}
_PCP = {
    2: "not authorized (2)", 3: "malformed request (3)", 4: "opcode not supported (4)", 5: "option not supported (5)", 6: "malformed option (6)",
    7: "network failure (7)", 8: "no resources (8)", 9: "protocol not supported (9)", 10: "quota exceeded (10)", 11: "external address not to be had (11)",
    12: "address mismatch (12)", 13: "too many remote peers (13)",
}  # fmt: skip
#: A response to a registration by its code, with any of the flags AA, RD, RA and B, and a demand to give up a name
_NAMES = {
    flags << 8 | 0x80 * ra | low | code: no
    for flags in (0xA8, 0xAC, 0xAD, 0xA9)
    for ra in (0, 1)
    for low in (0, 0x10)
    for code, no in (
        (0, ""),
        (2, "server failure"),
        (5, "refused"),
        (6, "name is held by another host"),
        (7, "conflict: several hosts have one name"),
    )
}
_UPS = {
    b"ERR DATA-STALE": "DATA-STALE", b"ERR DRIVER-NOT-CONNECTED": "DRIVER-NOT-CONNECTED", b"ERR ACCESS-DENIED": "ACCESS-DENIED",
    b"ERR UNKNOWN-UPS": "UNKNOWN-UPS", b"ERR INVALID-PASSWORD": "INVALID-PASSWORD", b"ERR INVALID-USERNAME": "INVALID-USERNAME",
    b"ERR USERNAME-REQUIRED": "USERNAME-REQUIRED", b"ERR PASSWORD-REQUIRED": "PASSWORD-REQUIRED", b"ERR SET-FAILED": "SET-FAILED",
    b"ERR INSTCMD-FAILED": "INSTCMD-FAILED", b"VAR ": "", b"BEGIN LIST VAR": "",
}  # fmt: skip

LAYOUTS = (
    # stands in no segment or datagram: :mod:`netlens.parsers.link_talk` hands it over
    Layout("eap", "EAP", At(), (Sort(((1, b"\0"),), (4, 1, "big"), {3: "", 4: "the login failed (802.1X)"}),)),
    Layout(  # the same of logins of PPP: the number of the protocol inside PPP stands first (PAP: RFC 1334 2.2, CHAP: RFC 1994 4.2, EAP)
        "ppp",
        "PPP",
        At(),
        (
            Sort(((0, b"\xc0\x23"),), (2, 1, "big"), {2: "", 3: "the login failed (PAP)"}),
            Sort(((0, b"\xc2\x23"),), (2, 1, "big"), {3: "", 4: "the login failed (CHAP)"}),
            Sort(((0, b"\xc2\x27"),), (2, 1, "big"), {3: "", 4: "the login failed (EAP)"}),
        ),
    ),
    Layout(
        "nbd",
        "NBD",
        At(tcp=(10809,)),
        tuple(
            sort
            for option in (6, 7)  # NBD_OPT_INFO, NBD_OPT_GO: both say whether there is such an export
            for sort in (
                Sort((_NBD_REPLY, (8, bytes([0, 0, 0, option]))), (12, 4, "big"), _NBD_ERRORS),
                Sort((_NBD_REPLY, (8, bytes([0, 0, 0, option]))), (12, 4, "big"), {1: ""}),
            )
        ),
        CHALLENGES=("TLS required",),
    ),
    Layout(
        "iscsi",
        "iSCSI",
        At(tcp=(3260,), within=(0, 1 << 14)),
        (
            Sort(((0, b"\x23"), (38, bytes(10))), (36, 2, "big"), _ISCSI_LOGINS, 48),
            *(Sort(((0, bytes([0x23, flags])), (38, bytes(10))), (36, 2, "big"), {0: ""}) for flags in (0x83, 0x87)),  # the session begins
        ),
    ),
    Layout(
        "opc-ua",
        "OPC UA",
        At(tcp=(4840,)),
        (
            Sort((_CHUNK, (24, b"\x01\x00\x8d\x01")), (40, 4, "little"), _OPC_UA),
            Sort((_CHUNK, (24, b"\x01\x00\xd6\x01")), (40, 4, "little"), {0: ""}),
            Sort(((0, b"ERRF"),), (8, 4, "little"), _OPC_UA),
        ),
    ),
    Layout(
        "beanstalkd",
        "beanstalkd",
        At(tcp=(11300,)),
        tuple(
            Sort(((0, word),), (0, 0, "big"), {0: no})
            for word, no in (
                (b"JOB_TOO_BIG\r\n", "job too big"),
                (b"DRAINING\r\n", "takes no more jobs"),
                (b"OUT_OF_MEMORY\r\n", "out of memory"),
                (b"INSERTED ", ""),
            )
        ),
    ),
    Layout("iperf3", "iperf3", At(tcp=(5201,), within=(0, 1)), (Sort((), (0, 1, "big"), {0xFF: "busy with another test", 9: ""}, 1),)),
    Layout("lpd", "LPD", At(tcp=(515,)), (Sort((), (0, 1, "big"), {0: "", **_LPD}, 1),), TURNS=("negative acknowledgement",)),
    Layout(
        "port-mapping",
        "NAT-PMP or PCP",
        At(udp=(5351,)),
        (
            *(Sort(((0, bytes([0, 128 + kind])),), (2, 2, "big"), {0: "", **_NAT_PMP}) for kind in (1, 2)),  # to map a port of UDP, of TCP
            *(Sort(((0, bytes([2, 128 + kind])),), (3, 1, "big"), {0: "", **_PCP}) for kind in (1, 2)),  # MAP, PEER
        ),
        CHALLENGES=tuple({*_NAT_PMP.values(), *_PCP.values()}),
        CHECKS=("not authorized",),
    ),
    # one resource record; the last two letters of the name, encoded in half bytes, are its kind: 00 and 20, a host (or workgroup) and its server
    Layout(
        "netbios-names",
        "NetBIOS name",
        At(udp=(137,)),
        tuple(Sort(((4, b"\0\0\0\x01"), (12, b"\x20"), (43, kind + b"\0")), (2, 2, "big"), _NAMES) for kind in (b"AA", b"CA")),
    ),
    Layout(
        "nut",
        "NUT (UPS)",
        At(tcp=(3493,)),
        tuple(Sort(((0, word),), (0, 0, "big"), {0: no}) for word, no in _UPS.items()),
    ),
    Layout(
        "svn",
        "Subversion",
        At(tcp=(3690,)),
        (
            Sort(((0, _SVN_ERROR),), (14, 6, "big"), {int.from_bytes(b"170001", "big"): "not authorized", int.from_bytes(b"210005", "big"): "no repository"}),
            Sort(((0, _SVN_LOGIN),), (12, 1, "big"), dict.fromkeys(b"123456789", "failure to the login")),
            Sort(((0, b"( success ( ) ) "),), (0, 0, "big"), {0: ""}),
        ),
    ),
)  # fmt: skip
