"""Protocols whose servers say yes and no at fixed places: a table instead of a file each.

A protocol is some :class:`Sort` of messages. A message is of a sort if these bytes stand at these places and the status, a number at a place, has a meaning;
the first sort that fits counts. What fits none says nothing.

Sources: NBD (its doc/proto.md: replies to options; that an option is not known is ordinary; replies to commands, of which data and writes that are done grant
something, and what is not supported is ordinary), iSCSI (RFC 7143 11.13, 11.13.5), EAP in frames of 802.1X (IEEE 802.1X-2010 11.3, RFC 3748 4.2), beanstalkd
(its doc/protocol.txt), iperf3 (iperf_api.h: the first byte says whether a test may begin; a server has one at a time), Subversion (libsvn_ra_svn/protocol: an
answer to a login, a repository that is not there or closed), LPD (RFC 1179 3.1, 6: one octet acknowledges; zero says yes, what lists a queue begins by text),
NAT-PMP and PCP (RFC 6886 3.3, 3.5; RFC 6887 7.2, 7.4: a version that is not known is ordinary, the client takes the other; so is a router that maps nothing,
which counts where a client asks again and again), NetBIOS' name servers and holders of names (RFC 1002 4.2.6, 4.2.8: names of hosts and workgroups; of
browsers and users several may be wanted, by turns), UPSes (RFC 9271 4.2, 5: what a version or a driver does not know is ordinary), KNXnet/IP (ISO 22510 5.4,
its core 5.5, 7.8: a tunnel, and whether it stands), TACACS+ (RFC 8907 4.1, 5.2, 6.2, 7.2: where it is not encrypted; that a command is not authorized is
ordinary, and who checks a server tries a password), GTP (3GPP TS 29.274 7.2.2, 8.4; TS 29.060 7.3.2, 7.7.1: the cause with which a session or PDP context is
not created).
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
    ASIDE: tuple[str, ...] = ()
    VAIN: tuple[tuple[str, int], ...] = ()
    ANEW: int = 3
    OFTEN: float = 0.2
    VAGUE: tuple[str, ...] = ()
    INSIDE: tuple[str, ...] = ()

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
_NBD_FAILED = {1: "EPERM (1)", 5: "I/O error (EIO, 5)", 12: "ENOMEM (12)", 22: "EINVAL (22)", 28: "no space (ENOSPC, 28)", 75: "EOVERFLOW (75)",
               95: "not supported (95)", 108: "shuts down (108)"}  # fmt: skip
_NBD_STRUCTURED, _NBD_SIMPLE = (0, b"\x66\x8e\x33\xef"), (0, b"\x67\x44\x66\x98")
_KNX = {0x21: "no such connection (0x21)", 0x22: "connection type not supported (0x22)", 0x23: "connection option not supported (0x23)",
        0x24: "no more connections (0x24)", 0x25: "no more unique connections (0x25)", 0x26: "error of the data connection (0x26)",
        0x27: "error of the KNX connection (0x27)", 0x28: "authorization error (0x28)", 0x29: "tunnelling layer not supported (0x29)"}  # fmt: skip
#: By type of packet: authentication, authorization, accounting
_TACACS = {
    1: {1: "", 2: "login failed (FAIL)", 7: "ERROR to the login", 0x21: "FOLLOW: another server"},
    2: {1: "", 2: "", 0x10: "not authorized (FAIL)", 0x11: "ERROR to an authorization"},
    3: {2: "ERROR to accounting"},
}
_GTP_2 = {
    16: "", 17: "", 18: "", 19: "", 64: "context not found (64)", 66: "version not supported by the next peer (66)", 68: "service not supported (68)",
    69: "mandatory element incorrect (69)", 70: "mandatory element missing (70)", 72: "system failure (72)", 73: "no resources available (73)",
    78: "missing or unknown APN (78)", 82: "denied in RAT (82)", 83: "preferred PDN type not supported (83)", 84: "all dynamic addresses in use (84)",
    86: "protocol type not supported (86)", 89: "service denied (89)", 91: "no memory available (91)", 92: "user authentication failed (92)",
    93: "APN access denied: no subscription (93)", 94: "request rejected (94)", 96: "IMSI not known (96)", 100: "remote peer not responding (100)",
    103: "conditional element missing (103)", 104: "APN restriction not compatible (104)", 109: "invalid peer (109)", 113: "APN congestion (113)",
    116: "several connections for one APN not allowed (116)", 120: "GTP-C entity congestion (120)",
}  # fmt: skip
_GTP_1 = {
    128: "", 129: "", 130: "", 192: "non-existent (192)", 198: "version not supported (198)", 199: "no resources available (199)",
    200: "service not supported (200)", 201: "mandatory element incorrect (201)", 202: "mandatory element missing (202)", 204: "system failure (204)",
    205: "roaming restriction (205)", 209: "user authentication failed (209)", 211: "all dynamic PDP addresses in use (211)", 212: "no memory available (212)",
    219: "missing or unknown APN (219)", 220: "unknown PDP address or type (220)",
}  # fmt: skip
_ISCSI_LOGINS = {
    0x0200: "initiator error (0200) to the login", 0x0201: "authentication failure (0201) to the login", 0x0202: "authorization failure (0202) to the login",
    0x0203: "target not found (0203) to the login", 0x0204: "target removed (0204) to the login", 0x0205: "version not supported (0205) to the login",
    0x0206: "too many connections (0206) to the login", 0x0207: "missing parameter (0207) to the login", 0x0208: "can't include in session (0208) to the login",
    0x0209: "session type not supported (0209) to the login", 0x020A: "session does not exist (020a) to the login",
    0x020B: "invalid during login (020b) to the login", 0x0300: "target error (0300) to the login", 0x0301: "service unavailable (0301) to the login",
    0x0302: "out of resources (0302) to the login",
}  # fmt: skip
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
        (
            *(
                sort
                for option in (6, 7)  # NBD_OPT_INFO, NBD_OPT_GO: both say whether there is such an export
                for sort in (
                    Sort((_NBD_REPLY, (8, bytes([0, 0, 0, option]))), (12, 4, "big"), _NBD_ERRORS),
                    Sort((_NBD_REPLY, (8, bytes([0, 0, 0, option]))), (12, 4, "big"), {1: ""}),
                )
            ),
            *(Sort((_NBD_STRUCTURED, (6, b"\x80" + kind)), (20, 4, "big"), _NBD_FAILED) for kind in (b"\x01", b"\x02")),
            Sort((_NBD_STRUCTURED,), (6, 2, "big"), {0: "", 1: "", 2: ""}),
            Sort((_NBD_SIMPLE,), (4, 4, "big"), {0: "", **_NBD_FAILED}),
        ),
        CHALLENGES=("TLS required",),
        DAILY=("not supported",),
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
    Layout("knxnet-ip", "KNXnet/IP", At(tcp=(3671,), udp=(3671,)), tuple(
        Sort(((0, b"\x06\x10\x02" + kind + b"\0"),), (7, 1, "big"), {**_KNX, **({0: ""} if kind == b"\x06" else {})}) for kind in (b"\x06", b"\x08")
    )),
    Layout("tacacs", "TACACS+", At(tcp=(49,)), tuple(
        Sort(((0, version), (1, bytes([kind])), (3, flags)), (12, 1, "big"), words)
        for kind, words in _TACACS.items() for version in (b"\xc0", b"\xc1") for flags in (b"\1", b"\5")  # not encrypted; one connection for all
    ), DAILY=("not authorized",), CHECKS=("login failed",)),
    Layout("gtp", "GTP", At(udp=(2123,)), (
        *(Sort(((0, flags + b"\x21"), (12, b"\x02")), (16, 1, "big"), _GTP_2) for flags in (b"\x48", b"\x58")),
        *(Sort(((0, bytes([flags, 0x11])), (12, b"\x01")), (13, 1, "big"), _GTP_1) for flags in range(0x30, 0x38)),
    )),
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
