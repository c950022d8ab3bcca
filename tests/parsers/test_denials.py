"""What servers say in messages written down here byte by byte from the specifications: refused, granted, or neither."""

from __future__ import annotations

import random

import pytest

from netlens.parsers.denials import KNOWN, LIMITED, PROTOCOLS
from netlens.parsers.denials._questions import QUESTIONS

BY_ID = {member.ID: member for member in PROTOCOLS}


def be(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([tag, len(body)]) + body


KRB_ERROR = tlv(
    0x7E,
    tlv(
        0x30,
        b"\xa0\x03\x02\x01\x05\xa1\x03\x02\x01\x1e",
        b"\xa4\x11\x18\x0f20240101000000Z\xa5\x05\x02\x03\x02\xce\xc4",
        b"\xa6\x03\x02\x01\x25",
    ),
)
KRB_TOKEN = tlv(0x60, b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x03\x00", KRB_ERROR)


def smb2(status: int, command: int, body: bytes = b"", flags: int = 1) -> bytes:
    return b"\xfeSMB\x40\x00\x01\x00" + le(status, 4) + le(command, 2) + b"\x01\x00" + le(flags, 4) + bytes(44) + body


def smb1(status: int, command: int, flags: int = 0x98) -> bytes:
    return b"\xffSMB" + bytes([command]) + le(status, 4) + bytes([flags]) + b"\x01\xc8" + bytes(20) + b"\x00\x00\x00"


def ldap(tag: int, code: int, id_: bytes = b"\x02\x01\x05") -> bytes:
    return tlv(0x30, id_, tlv(tag, b"\x0a\x01" + bytes([code]), b"\x04\x00\x04\x00"))


def ldap_search(entries: int) -> bytes:
    """For no more than so many."""
    return tlv(
        0x30,
        b"\x02\x01\x05",
        tlv(0x63, b"\x04\x04dc=a\x0a\x01\x02\x0a\x01\0\x02\x01" + bytes([entries]) + b"\x02\x01\0\x01\x01\0\x87\x01a"),
    )


def nbd(option: int, kind: int) -> bytes:
    return b"\0\x03\xe8\x89\x04\x55\x65\xa9" + be(option, 4) + be(kind, 4) + be(0, 4)


def doip(kind: int, body: bytes) -> bytes:
    body = b"\x0e\x80\x10\x01" + body
    return b"\x02\xfd" + be(kind, 2) + be(len(body), 4) + body


def iscsi(status: int, flags: int = 0) -> bytes:
    return bytes([0x23, flags]) + bytes(34) + be(status, 2) + bytes(10)


def opc_ua(kind: int, status: int) -> bytes:
    return b"MSGF" + le(52, 4) + bytes(16) + b"\x01\0" + le(kind, 2) + bytes(12) + le(status, 4) + bytes(8)


def dns(opcode: int, code: int, response: int = 0x80) -> bytes:
    return b"\x12\x34" + bytes([response | opcode << 3, code]) + b"\x00\x01" + bytes(6) + b"\x01a\x00\x00\x06\x00\x01"


def tds(*tokens: bytes) -> bytes:
    return b"\x04\x01" + be(8 + sum(map(len, tokens)), 2) + bytes(4) + b"".join(tokens)


def tds_token(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + le(len(body), 2) + body


def amqp(class_: int, method: int, code: int, use: bytes = bytes(4), text: bytes = b"no") -> bytes:
    payload = be(class_, 2) + be(method, 2) + be(code, 2) + be(len(text), 1) + text + use
    return b"\x01\x00\x00" + be(len(payload), 4) + payload + b"\xce"


def bgp(*kinds: bytes) -> bytes:
    return b"".join(b"\xff" * 16 + be(18 + len(kind), 2) + kind for kind in kinds)


def diameter(code: int, flags: int = 0x40) -> bytes:
    session = be(263, 4) + b"\x40" + be(11, 3) + b"a;b\x00"
    result = be(268, 4) + b"\x40" + be(12, 3) + be(code, 4)
    return b"\x01" + be(20 + len(session + result), 3) + bytes([flags]) + be(272, 3) + bytes(12) + session + result


def snmp(status: int, pdu: int = 0xA2, version: int = 1, values: tuple[int, ...] = ()) -> bytes:
    """``values``: tags of what stands where values do."""
    bindings = tlv(0x30, *(tlv(0x30, b"\x06\x03\x2b\x06\x01", tlv(tag, b"" if tag & 0x80 else b"\x01")) for tag in values))
    return tlv(
        0x30,
        b"\x02\x01" + bytes([version]),
        b"\x04\x01x",
        tlv(pdu, b"\x02\x02\x12\x34\x02\x01" + bytes([status]) + b"\x02\x01\x00", bindings),
    )


def nbns(kind: bytes, code: int, flags: int = 0xAD) -> bytes:
    """An answer to the registration of a name whose last letters are these."""
    return b"\x12\x34" + bytes([flags, 0x80 | code, 0, 0, 0, 1, 0, 0, 0, 0]) + b"\x20" + b"EB" * 15 + kind + b"\0\0\x20\0\1" + bytes(12)


def ipp(status: int, more: bytes = b"") -> bytes:
    return b"\2\0" + be(status, 2) + bytes(3) + b"\1\1\x47\0\x12attributes-charset\0\5utf-8" + more + b"\3"


def ntp(dispersion: int) -> bytes:
    return b"\x24\2\6\xec" + be(1 << 16, 4) + be(dispersion << 16, 4) + bytes(36)


def rpc(accepted: int = 0, result: bytes = b"") -> bytes:
    return b"\x00\x00\x00\x07" + be(1, 4) + bytes(12) + be(accepted, 4) + result


def dcerpc(kind: int, body: bytes) -> bytes:
    return b"\x05\x00" + bytes([kind]) + b"\x03\x10\x00\x00\x00" + le(16 + len(body), 2) + bytes(6) + body


def stun(kind: int, code: int | None = None) -> bytes:
    body = b"" if code is None else b"\x00\x09\x00\x04\x00\x00" + bytes([code // 100, code % 100])
    return be(kind, 2) + be(len(body), 2) + b"\x21\x12\xa4\x42" + bytes(12) + body


def l2tp(kind: int, code: int) -> bytes:
    body = b"\x80\x08\x00\x00\x00\x00" + be(kind, 2) + b"\x80\x08\x00\x00\x00\x01" + be(code, 2)
    return b"\xc8\x02" + be(12 + len(body), 2) + bytes(8) + body


def openflow(version: int, *kinds: tuple[int, bytes]) -> bytes:
    return b"".join(bytes([version, kind]) + be(8 + len(body), 2) + bytes(4) + body for kind, body in kinds)


def pptp(kind: int, at: int, code: int) -> bytes:
    body = bytearray(32)
    body[at] = code
    body[:10] = be(32, 2) + b"\x00\x01\x1a\x2b\x3c\x4d" + be(kind, 2)
    return bytes(body)


def dhcpv6(kind: int, *options: bytes) -> bytes:
    return bytes([kind]) + b"\x01\x02\x03" + b"".join(options)


def option(kind: int, value: bytes) -> bytes:
    return be(kind, 2) + be(len(value), 2) + value


def ike(version: int, exchange: int, payload: int, body: bytes, flags: int = 0) -> bytes:
    chain = b"\x00\x00" + be(4 + len(body), 2) + body
    return b"i" * 8 + b"r" * 8 + bytes([payload, version, exchange, flags]) + bytes(4) + be(28 + len(chain), 4) + chain


def ssh(reason: int, text: bytes = b"no") -> bytes:
    body = b"\x01" + be(reason, 4) + be(len(text), 4) + text + bytes(4)
    return be(1 + len(body) + 6, 4) + b"\x06" + body + bytes(6)


def dhcp(op: int, kind: int) -> bytes:
    return bytes([op]) + b"\x01\x06\x00" + bytes(232) + b"\x63\x82\x53\x63" + bytes([53, 1, kind, 255])


def dnp3(indications: bytes, function: int = 0x81) -> bytes:
    return b"\x05\x64\x0a\x44\x03\x00\x04\x00\x7c\xae\xc1\xc1" + bytes([function]) + indications + b"\x3b\xdb"


def iec104(kind: int, cause: int) -> bytes:
    return b"\x68\x0e\x02\x00\x02\x00" + bytes([kind, 1, cause, 0, 1, 0, 5, 0, 0, 1])


def bacnet(apdu: bytes, control: bytes = b"\x00", link: bytes = b"\x0a") -> bytes:
    body = b"\x01" + control + apdu
    return b"\x81" + link[:1] + be(4 + len(link[1:]) + len(body), 2) + link[1:] + body


def cip(said: bytes, connected: bytes = b"", command: int = 0x6F) -> bytes:
    """An answer (or request) as data with or without a connection, with the connection's counter."""
    address = b"\xa1\0\4\0\1\2\3\4" if connected else b"\0\0\0\0"
    items = b"\2\0" + address + (b"\xb1\0" if connected else b"\xb2\0") + le(len(connected + said), 2) + connected + said
    return le(command, 2) + le(6 + len(items), 2) + bytes(20) + bytes(6) + items


def opc_ua_results(kind: int, count: int, results: bytes, status: int = 0) -> bytes:
    body = b"\x01\0" + le(kind, 2) + bytes(12) + le(status, 4) + bytes(1) + bytes(4) + bytes(3) + le(count, 4) + results + bytes(4)
    return b"MSGF" + le(24 + len(body), 4) + bytes(16) + body


def s7(items: bytes, count: int = 1, function: int = 4, error: int = 0) -> bytes:
    body = b"\x02\xf0\x80\x32\x03\0\0\0\x01\0\x02" + be(len(items), 2) + be(error, 2) + bytes([function, count]) + items
    return b"\x03\0" + be(4 + len(body), 2) + body


def nbd_reply(kind: int, error: int = 0) -> bytes:
    return b"\x66\x8e\x33\xef\0\1" + be(kind, 2) + bytes(8) + be(6, 4) + be(error, 4) + bytes(2)


def tacacs(kind: int, status: int, flags: int = 1) -> bytes:
    return bytes([0xC0, kind, 2, flags]) + b"\x33\x44\xaa\0" + be(6, 4) + bytes([status]) + bytes(5)


def diameter_of_3gpp(code: int, command: int = 318) -> bytes:
    inside = be(266, 4) + b"\x40" + be(12, 3) + be(10415, 4) + be(298, 4) + b"\x40" + be(12, 3) + be(code, 4)
    body = be(263, 4) + b"\x40" + be(11, 3) + b"a;b\0" + be(297, 4) + b"\x40" + be(8 + len(inside), 3) + inside
    return b"\x01" + be(20 + len(body), 3) + b"\x40" + be(command, 3) + bytes(12) + body


def gtp(cause: int, version: int = 2) -> bytes:
    if version == 1:
        return b"\x32\x11\0\x06" + bytes(4) + b"\0\1\0\0\1" + bytes([cause])
    return b"\x48\x21\0\x0e" + bytes(4) + b"\0\0\1\0\2\0\2\0" + bytes([cause, 0])


def knx(service: int, status: int) -> bytes:
    return b"\x06\x10" + be(service, 2) + b"\0\x08\x01" + bytes([status])


SAID: list[tuple[str, bytes, str | None]] = [
    ("smb", smb2(0xC000006D, 1), "LOGON_FAILURE to the login"),
    ("smb", smb2(0xC00000CC, 3), "BAD_NETWORK_NAME to a share"),
    ("smb", smb2(0xC0000022, 5), "ACCESS_DENIED to a file"),
    ("smb", smb2(0xC000007F, 9), "DISK_FULL to a file"),
    ("smb", smb2(0xC00000C9, 4), None),  # leaving a share that there never was
    ("smb", smb2(0xC0000016, 1, KRB_TOKEN), "Kerberos: clocks differ"),
    ("smb", smb2(0xC0FFEE00, 1), "status 0xC0FFEE00 to the login"),
    ("smb", smb1(0xC000006D, 0x73), "LOGON_FAILURE to the login"),
    ("smb", smb2(0, 1), ""),
    ("smb", smb2(0xC0000016, 1), None),  # the login goes on
    ("smb", smb2(0xC0000034, 5), None),  # a name that is not there
    ("smb", smb2(0xC0000010, 11), None),
    ("smb", smb2(0x80000006, 14), None),
    ("smb", smb2(0xC0000022, 11), None),
    ("smb", smb2(0xC000006D, 1, flags=0), None),  # a request
    ("smb", b"\xfeSMB\x40\x00", None),
    ("kerberos", KRB_ERROR, "clocks differ"),
    ("kerberos", KRB_ERROR[:-1] + b"\x19", None),  # preauthentication wanted
    ("kerberos", b"\x7e\x40" + bytes(10) + b"\xa6\x03\x02\x01\x25", None),
    ("ldap", ldap(0x61, 49), "invalidCredentials (49) to the login"),
    ("ldap", ldap(0x67, 50), "insufficientAccessRights (50)"),
    ("ldap", ldap(0x65, 51, b"\x02\x02\x01\x00"), "busy (51)"),
    ("ldap", b"\x30\x84\x00\x00\x00\x10\x02\x01\x05\x61\x84\x00\x00\x00\x07\x0a\x01\x31\x04\x00\x04\x00", "invalidCredentials (49) to the login"),
    ("ldap", ldap(0x61, 0), ""),
    ("ldap", ldap(0x61, 14), None),
    ("ldap", ldap(0x65, 32), "nothing found: noSuchObject (32)"),
    ("ldap", ldap(0x65, 0), "found"),
    ("ldap", ldap(0x64, 50), "found"),
    ("ldap", b"\x30\x82\x07\xd0\x02\x01\x05\x64\x82\x07\xc9" + bytes(900), "found"),
    ("ldap", ldap(0x65, 4), "sizeLimitExceeded (4)"),
    ("ldap", ldap_search(0), None),
    ("ldap", ldap_search(100), LIMITED),
    ("ldap", ldap_search(0)[:14], None),
    ("ldap", b"\x30\x84\xff", None),
    ("ldap", ldap(0x78, 2), "extended request: protocolError (2)"),  # StartTLS that is not known
    ("ldap", ldap(0x78, 52), "unavailable (52)"),
    ("ldap", ldap(0x78, 0), None),
    ("smb", smb1(0, 0x72) [:32] + b"\x01\xff\xff\0\0", "no dialect in common (SMB 1 only)"),
    ("smb", smb1(0, 0x72) [:32] + b"\x11\x05\0" + bytes(40), "found"),
    ("smb", smb1(0, 0x72, flags=0x18)[:32] + b"\x01\xff\xff\0\0", None),  # a request
    ("kerberos", b"\x6b\x40" + bytes(30) + b"\x1b\x06krbtgt\x1b\x01A", ""),
    ("kerberos", b"\x6b\x40" + bytes(30) + b"\x1b\x06kadmin\x1b\x08changepw", None),  # to change an expired password
    ("lpd", b"\x01", "negative acknowledgement (1)"),
    ("lpd", b"\0", ""),
    ("lpd", b"\n", None),
    ("lpd", b"no entries\n", None),
    ("port-mapping", b"\0\x82\0\x02" + bytes(12), "not authorized (2)"),
    ("port-mapping", b"\0\x81\0\x04" + bytes(12), "out of resources (4)"),
    ("port-mapping", b"\0\x81\0\0" + bytes(12), ""),
    ("port-mapping", b"\0\x80\0\0" + bytes(8), None),  # the router's address
    ("port-mapping", b"\0\x82\0\x01" + bytes(12), None),  # another version
    ("port-mapping", b"\x02\x81\0\x0a" + bytes(56), "quota exceeded (10)"),
    ("port-mapping", b"\x02\x82\0\0" + bytes(76), ""),
    ("port-mapping", b"\x02\x81\0\x01" + bytes(20), None),
    ("port-mapping", b"\x02\x01\0\x02" + bytes(56), None),  # a request
    ("netbios-names", nbns(b"AA", 6), "name is held by another host"),
    ("netbios-names", nbns(b"CA", 7), "conflict: several hosts have one name"),
    ("netbios-names", nbns(b"CA", 0), ""),
    ("netbios-names", nbns(b"BN", 6), None),  # the master browser
    ("netbios-names", nbns(b"AD", 6), None),  # a user
    ("netbios-names", nbns(b"CA", 6, 0x85), None),  # an answer to a query
    ("nut", b"ERR DRIVER-NOT-CONNECTED\n", "DRIVER-NOT-CONNECTED"),
    ("nut", b"ERR FEATURE-NOT-CONFIGURED\n", None),
    ("nut", b'VAR ups ups.status "OL"\n', ""),
    ("rtsp", b"RTSP/1.0 461 Unsupported Transport\r\nCSeq: 3\r\n\r\n", "461 unsupported transport"),
    ("rtsp", b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: 1\r\n\r\n", ""),
    ("rtsp", b"RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n", KNOWN),
    ("ipp", ipp(0x040A), "document format not supported (0x040a)"),
    ("ipp", b"HTTP/1.1 200 OK\r\nContent-Length: 72\r\n\r\n" + ipp(0x0506), "not accepting jobs (0x0506)"),
    ("ipp", ipp(0, b"\x02\x21\0\x06job-id\0\x04\0\0\0\1"), ""),
    ("ipp", ipp(0), None),
    ("ipp", ipp(0x0503), None),
    ("ipp", b"HTTP/1.1 100 Continue\r\n\r\n", None),
    ("snmp", snmp(2, version=0), "not there: noSuchName (2)"),
    ("snmp", snmp(0, values=(0x81, 0x81)), "not there: noSuchInstance"),
    ("snmp", snmp(0, values=(0x81, 0x41)), ""),
    ("snmp", snmp(0, values=(0x82,)), ""),  # the end of a walk
    ("ntp", ntp(12), "too inaccurate: root distance of 12 s"),
    ("ntp", ntp(1), ""),
    ("sip", b"SIP/2.0 503 Service Unavailable\r\n", "503"),
    ("sip", b"SIP/2.0 415 Unsupported Media Type\r\n", "415"),
    ("sip", b"SIP/2.0 200 OK\r\n", ""),
    ("sip", b"SIP/2.0 407 Proxy Authentication Required\r\nCSeq: 1 INVITE\r\n", "407"),
    ("sip", b"SIP/2.0 401 Unauthorized\r\nCSeq: 1 OPTIONS\r\n", None),
    ("sip", b"SIP/2.0 486 Busy Here\r\n", None),
    ("sip", b"SIP/2.0 5034\r\n", None),
    ("dns", dns(4, 5), "NOTIFY: REFUSED"),
    ("dns", dns(5, 9), "UPDATE: NOTAUTH"),
    ("dns", dns(5, 0), ""),
    ("dns", dns(0, 5), None),
    ("dns", dns(4, 5, 0), None),
    ("tds", tds(tds_token(0xE3, b"\x01\x00"), tds_token(0xAA, le(18456, 4) + b"\x01\x0e" + bytes(8))), "login failed (18456)"),
    ("tds", tds(tds_token(0xAA, le(208, 4) + b"\x01\x10" + bytes(8))), None),  # an object that is not there
    ("tds", tds(tds_token(0xAD, bytes(10))), ""),
    ("tds", b"\x04\x01\x00\x09" + bytes(4) + b"\xaa", None),
    ("memcached", b"SERVER_ERROR out of memory storing object\r\n", "SERVER_ERROR out of memory"),
    ("memcached", b"\x81\x01" + bytes(4) + b"\x00\x82" + bytes(16), "out of memory"),
    ("memcached", b"STORED\r\n", ""),
    ("memcached", b"ERROR\r\n", None),
    ("memcached", b"ERROR Too many open connections\r\n", "too many connections"),
    ("mqtt", b"\x20\x02\x00\x05", "not authorized (5)"),
    ("mqtt", b"\x20\x03\x00\x87\x00", "not authorized (135)"),
    ("mqtt", b"\xe0\x02\x97\x00", "quota exceeded (151)"),
    ("mqtt", b"\x20\x02\x01\x00", ""),
    ("mqtt", b"\x20\x02\x09\x05", None),
    ("mqtt", b"\xe0\x02\x8b\x00", None),  # it shuts down
    ("mqtt", b"\x20", None),
    ("mqtt", b"\x90\x03\0\1\x80", "subscription: unspecified error (128)"),
    ("mqtt", b"\x90\x04\0\1\0\x87", "subscription: not authorized (135)"),  # version 5, without properties
    ("mqtt", b"\x90\x09\0\1\5\x1f\0\2no\x87", "subscription: not authorized (135)"),  # with a reason
    ("mqtt", b"\x90\x04\0\1\1\x80", "subscription: unspecified error (128)"),  # one of two
    ("mqtt", b"\x90\x03\0\1\2", ""),
    ("mqtt", b"\x90\x03\0\1\2\x31\x05\0\1a12", ""),  # and a message that was kept for it
    ("mqtt", b"\x90\x03\0\1\x87" + bytes(1400), None),  # amid a long message
    ("mqtt", b"\x40\x03\0\1\x87" + bytes(1400), None),
    ("mqtt", b"\x90\x04\0\1\x40\0", None),  # properties that are longer than the whole
    ("mqtt", b"\x90\x09\0\1\5\x1f\0\2\xc3\xa9\0", ""),  # a reason, which is text
    ("mqtt", b"\x90\x03\0\1", None),
    ("mqtt", b"\x40\x03\0\1\x87", "message: not authorized (135)"),
    ("mqtt", b"\x40\x03\0\1\x10", None),  # nobody subscribes to it
    ("mqtt", b"\x40\x02\0\1", None),
    ("amqp", amqp(10, 50, 403), "403 access refused"),
    ("amqp", amqp(20, 40, 406), "406 precondition failed"),
    ("amqp", amqp(10, 50, 200), None),
    ("amqp", amqp(20, 40, 404, b"\0\x3c\0\x28"), "publish: 404 not found"),
    ("amqp", amqp(20, 40, 404, b"\0\x32\0\x0a"), "404 not found"),  # a declaration
    ("amqp", amqp(20, 40, 406, b"\0\x32\0\x0a"), "declare queue: 406 precondition failed"),
    ("amqp", amqp(20, 40, 406, b"\0\x28\0\x0a"), "declare exchange: 406 precondition failed"),
    ("amqp", amqp(20, 40, 406, b"\0\x3c\0\x28"), "publish: 406 precondition failed"),  # it is too large
    ("amqp", amqp(20, 40, 406, b"\0\x3c\0\x50"), "406 precondition failed"),  # acknowledged twice
    ("amqp", amqp(20, 40, 406, text=b"PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out."), "acknowledge in time: 406 precondition failed"),
    ("amqp", amqp(20, 40, 406, b"\0\x3c\0\x50", b"PRECONDITION_FAILED - unknown delivery tag 1"), "406 precondition failed"),
    ("amqp", b"\x01\0\1\0\0\0\4\0\x32\0\x15\xce", ""),  # bound
    ("amqp", b"\x01\0\0\0\0\0\x10\0\x0a\0\x3c\x0blow on disk\xce", "messages blocked"),
    ("amqp", b"\x01\0\0\0\0\0\4\0\x0a\0\x3d\xce", ""),  # unblocked
    ("nats", b"-ERR 'Authorization Violation'\r\n", "authorization violation"),
    ("nats", b"-ERR 'maximum connections exceeded'\r\n", "maximum connections exceeded"),
    ("nats", b"-ERR 'Permissions Violation for Publish to \"a.b\"'\r\n", "permissions violation"),
    ("nats", b"-ERR 'Stale Connection'\r\n", None),
    ("nats", b"-ERR 'something new'\r\n", None),
    ("nats", b"PONG\r\n", ""),
    ("nats", b"+OK\r\n", ""),
    ("nats", b"PING\r\n", None),
    ("nats", b'INFO {"auth_required":true}\r\n', None),
    ("nats", b"MSG a 1 40\r\n-ERR 'Authorization Violation'\r\n", None),
    ("rsync", b"@ERROR: auth failed on module backup\n", "auth failed"),
    ("rsync", b"@ERROR: max connections (1) reached -- try again later\n", "too many connections"),
    ("rsync", b"@ERROR: something new\n", "@ERROR"),
    ("rsync", b"@RSYNCD: OK\n", ""),
    ("rsync", b"@RSYNCD: AUTHREQD abc\n", None),
    ("amqp", amqp(10, 30, 0), ""),
    ("bgp", bgp(b"\x03\x06\x09"), "Cease: hard reset (6/9)"),
    ("bgp", bgp(b"\x03\x06\x09\x06\x01\x00\x01\x01\x00\x00\x00\x05"), "Cease: too many prefixes (6/1, hard reset)"),
    ("bgp", bgp(b"\x03\x06\x09\x06\x02"), "administrative shutdown (6/2, hard reset)"),
    ("bgp", bgp(b"\x03\x06\x09\x63\x01"), "Cease: hard reset (6/9)"),  # a reason that no standard knows
    ("bgp", bgp(b"\x04", b"\x03\x02\x02\xfd\xe8"), "OPEN error: wrong AS of the peer (2/2)"),
    ("bgp", bgp(b"\x03\x06\x04"), "administrative reset (6/4)"),
    ("bgp", bgp(b"\x03\x06\x07"), None),  # a collision
    ("bgp", bgp(b"\x04"), None),
    ("bgp", bgp(b"\x03\x09\x00"), None),
    ("bgp", b"\xff" * 16 + b"\xff\xff\x03\x02\x02", None),
    ("radius", b"\x2a\x07\x00\x14" + bytes(16), "Disconnect-NAK"),
    ("radius", b"\x03\x07\x00\x20" + bytes(16), None),
    ("diameter", diameter(5012), "unable to comply (5012)"),
    ("diameter", diameter(2001), ""),
    ("diameter", diameter(5012, 0xC0), None),  # a request
    ("diameter", diameter(1001), None),
    ("snmp", snmp(16), "authorizationError (16)"),
    ("snmp", snmp(0), ""),
    ("snmp", snmp(12), "inconsistentValue (12)"),
    ("snmp", snmp(19), "unknown error-status (19)"),
    ("snmp", snmp(1), None),  # too big
    ("snmp", snmp(2), None),  # noSuchName ends a walk
    ("snmp", snmp(16, 0xA1), None),  # a request
    ("snmp", snmp(16, version=3), None),
    ("ntp", b"\xe4\x00\x06\xe8" + bytes(44), "not synchronised"),
    ("ntp", b"\x24\x10\x06\xe8" + bytes(44), "not synchronised"),
    ("ntp", b"\x24\x00\x06\xe8" + bytes(8) + b"DENY" + bytes(32), "denied (DENY)"),
    ("ntp", b"\x24\x02\x06\xe8" + bytes(44), ""),
    ("ntp", b"\xe3\x00\x06\xe8" + bytes(44), None),  # a client, which does not know the time either
    ("tftp", b"\x00\x05\x00\x01File not found\x00", "file not found"),
    ("tftp", b"\x00\x05\x00\x08no options\x00", None),
    ("ppp", b"\xc0\x23\x02\x01\x00\x05\x00", ""),
    ("ppp", b"\xc0\x23\x03\x01\x00\x05\x00", "the login failed (PAP)"),
    ("ppp", b"\xc2\x23\x04\x01\x00\x04", "the login failed (CHAP)"),
    ("ppp", b"\xc2\x23\x01\x01\x00\x04", None),  # a challenge
    ("tftp", b"\x00\x03\x00\x01data", ""),
    ("doip", doip(0x0006, b"\x10" + bytes(4)), ""),
    ("doip", doip(0x0006, b"\x06" + bytes(4)), "routing activation: activation type not supported (0x06)"),
    ("doip", doip(0x0006, b"\x42" + bytes(4)), None),
    ("uds", doip(0x8002, b"\x00"), None),  # passed on
    ("doip", doip(0x8003, b"\x06"), "not passed on: target unreachable (0x06)"),
    ("uds", doip(0x8001, b"\x7f\x22\x33"), "no security access (0x33)"),
    ("uds", doip(0x8001, b"\x7f\x22\x78"), None),  # the unit asks for time
    ("uds", doip(0x8001, b"\x62\xf1\x90"), ""),
    ("uds", doip(0x8001, b"\x62\xf1\x90")[:-1], None),
    ("tftp", b"\x00\x05\x00\x01\x00\xff\xfe\xfd", None),
    ("socks", b"\x05\x05\x00\x01" + bytes(6), "connection refused"),
    ("socks", b"\x05\xff", "no acceptable login method"),
    ("socks", b"\x01\x01", "login refused"),
    ("socks", b"\x00\x5b" + bytes(6), "rejected or failed"),
    ("socks", b"\x05\x00\x00\x03\x01a\x00\x50", ""),
    ("socks", b"\x05\x02", None),  # a method
    ("socks", b"\x05\x05\x00\x01" + bytes(7), None),
    ("rdp", b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x03\x00\x08\x00\x05\x00\x00\x00", "the server requires network level authentication"),
    ("rdp", b"\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x01\x00\x00\x00", ""),
    ("rdp", b"\x03\x00\x00\x0b\x06\xd0\x00\x00\x12\x34\x00", None),
    ("vnc", b"\x00\x00\x00\x01", "authentication failed"),
    ("vnc", b"\x00\x00\x00\x01\x00\x00\x00\x02no", "authentication failed"),
    ("vnc", bytes(4), ""),
    ("vnc", b"\x00\x00\x00\x01" + bytes(12), None),
    ("remote-login", b"\x01Login incorrect.\n", "login incorrect"),
    ("remote-login", b"\r\nLogin incorrect\r\nlogin: ", "login incorrect"),
    ("remote-login", b"\r\nLast login: Mon\r\n", ""),
    ("remote-login", b"login: ", None),
    ("remote-login", b"see: Login incorrect", None),
    ("ssh", b"Exceeded MaxStartups\r\n", "too many connections"),
    ("ssh", ssh(3), "key exchange failed (3)"),
    ("ssh", ssh(11), None),
    ("ssh", b"\x00\x00\x00\x0c\x0a\x15" + bytes(10), ""),
    ("ssh", ssh(3) + b"x", None),
    ("ssh", b"SSH-2.0-x\r\n", None),
    ("nntp", b"481 no\r\n", "481 login refused"),
    ("nntp", b"480 log in first\r\n", None),
    ("nntp", b"4810", None),
    ("irc", b":a NOTICE * :x\r\n:a 464 * :Password incorrect\r\n", "464 wrong password"),
    ("irc", b":a 001 n :Welcome\r\n", ""),
    ("irc", b"ERROR :Closing connection: n[~u@192.0.2.1] (Access denied: Bad password?)\r\n", "ERROR: bad password"),
    ("irc", b"ERROR :Closing connection: n[~u@192.0.2.1] (Client exited)\r\n", None),
    ("irc", b":n!u@h PRIVMSG #c :464 is a number\r\n", None),
    ("xmpp", b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>", "not-authorized"),
    ("xmpp", b"<stream:error><host-unknown xmlns='x'/></stream:error>", "host-unknown"),
    ("xmpp", b"<stream:error><system-shutdown xmlns='x'/></stream:error>", None),
    ("xmpp", b"<message><body>&lt;failure&gt;</body></message>", None),
    ("rtsp", b"RTSP/1.0 454 Session Not Found\r\n", "454"),
    ("rtsp", b"RTSP/1.0 401 Unauthorized\r\n", None),
    ("coap", b"\x60\xa3\x12\x34", "5.03 not available"),
    ("coap", b"\x60\x45\x12\x34\xffx", ""),
    ("coap", b"\x60\x84\x12\x34", "4.04 not found"),
    ("coap", b"\x60\x85\x12\x34", None),
    ("coap", b"\xe0\xa3\x12\x34", None),
    ("coap", b"\x64\xa3\x12\x34", None),
    ("coap", b"\x61\xa3\x12\x34\x07\xd1\x01\x3c\xffwait", "5.03 not available"),
    ("coap", b"\x60\xa3\x12\x34\xf0", None),
    ("coap", b"\x60\xa3\x12\x34\xff", None),
    ("stun", stun(0x113, 486), "486 allocation quota reached"),
    ("stun", stun(0x113, 401), "401 unauthenticated"),
    ("stun", stun(0x113, 438), None),
    ("stun", stun(0x103), ""),
    ("stun", stun(0x101), None),
    ("modbus", b"\x00\x01\x00\x00\x00\x03\x01\x83\x02", "illegal data address (exception 2)"),
    ("modbus", b"\x00\x01\x00\x00\x00\x05\x01\x03\x02\x00\x07", ""),
    ("modbus", b"\x00\x01\x00\x00\x00\x03\x01\x83\x06", None),
    ("modbus", b"\x00\x01\x00\x00\x00\x04\x01\x83\x02\x00", None),
    ("rpc", be(7, 4) + be(1, 4) + be(1, 4) + be(1, 4) + be(5, 4), "authentication too weak"),
    ("rpc", rpc(1), "program not available"),
    ("rpc", rpc(0, be(13, 4)), "mount: access denied (13)"),
    ("rpc", rpc(0, be(13, 4) + bytes(8)), ""),
    ("rpc", rpc(9), None),
    ("nfs", rpc(0, be(13, 4)), "access denied (13)"),
    ("nfs", rpc(0, be(2, 4)), None),
    ("nfs", rpc(0, be(0, 4)), ""),
    ("nfs", rpc(), None),  # a ping
    ("nfs", rpc(5), "system error"),
    ("portmap", rpc(0, be(0, 4)), "nothing found: program not registered"),
    ("portmap", rpc(0, be(2049, 4)), "found"),
    ("portmap", rpc(0, be(9, 4) + b"0.0.0.0.8.1\0"), "found"),
    ("portmap", rpc(), ""),  # a ping
    ("portmap", rpc(9), None),
    ("nbd", nbd(7, 0x80000006), "export not known"),
    ("nbd", nbd(6, 0x80000005), "TLS required"),
    ("nbd", nbd(7, 1), ""),
    ("nbd", nbd(8, 1), None),  # structured replies are agreed on
    ("nbd", nbd(11, 0x80000001), None),  # an option that is not known
    ("nbd", nbd(7, 0x80000006)[:14], None),
    ("iscsi", iscsi(0x0201), "authentication failure (0201) to the login"),
    ("iscsi", iscsi(0x0203, 0x87), "target not found (0203) to the login"),
    ("iscsi", iscsi(0, 0x87), ""),
    ("iscsi", iscsi(0), None),  # the login goes on
    ("iscsi", iscsi(0x0101), None),  # the target moved
    ("iscsi", iscsi(0x0201) + b"x", None),
    ("opc-ua", opc_ua(397, 0x80210000), "BadIdentityTokenRejected"),
    ("opc-ua", opc_ua(470, 0), ""),
    ("opc-ua", opc_ua(464, 0), None),  # a session that is not activated yet
    ("opc-ua", opc_ua(397, 0x80780000), None),  # too many publish requests
    ("opc-ua", b"ERRF\x20\0\0\0" + le(0x80830000, 4) + bytes(8), "BadTcpEndpointUrlInvalid"),
    ("beanstalkd", b"JOB_TOO_BIG\r\n", "job too big"),
    ("beanstalkd", b"INSERTED 7\r\n", ""),
    ("beanstalkd", b"NOT_FOUND\r\n", None),
    ("iperf3", b"\xff", "busy with another test"),
    ("iperf3", b"\x09", ""),
    ("iperf3", b"\xff" + bytes(1447), None),  # what is measured
    ("svn", b"( failure ( 18:Password incorrect ) ) ", "failure to the login"),
    ("svn", b"( failure ( ( 170001 20:Authorization failed 0: 0 ) ) ) ", "not authorized"),
    ("svn", b"( failure ( ( 160013 14:File not found 0: 0 ) ) ) ", None),
    ("svn", b"( success ( ) ) ", ""),
    ("svn", b"( success ( ( CRAM-MD5 ) 3:lab ) ) ", None),
    ("eap", b"\x02\0\0\x04\x04\x05\0\x04", "the login failed (802.1X)"),
    ("eap", b"\x02\0\0\x04\x03\x05\0\x04", ""),
    ("eap", b"\x02\0\0\x05\x01\x05\0\x05\x01", None),  # a request
    ("eap", b"\x02\x03\0\x5f\x04" + bytes(95), None),  # a key
    ("dcerpc", dcerpc(3, bytes(8) + le(5, 4) + bytes(4)), "access denied (fault 0x5)"),
    ("dcerpc", dcerpc(3, bytes(8) + le(0x1C010002, 4) + bytes(4)), None),
    ("dcerpc", dcerpc(13, b"\x02\x00\x00\x00"), "local limit exceeded"),
    ("dcerpc", dcerpc(2, bytes(8)), ""),
    ("x11", b"\x00\x02\x0b\x00\x00\x00\x01\x00no\x00\x00", "connection refused"),
    ("x11", b"\x01\x00\x0b\x00\x00\x00\x01\x00" + bytes(4), ""),
    ("x11", b"\x00\x02\x0b\x00\x00\x00\x02\x00no\x00\x00", None),
    ("l2tp", l2tp(4, 4), "tunnel: not authorized (4)"),
    ("l2tp", l2tp(14, 3), None),  # somebody asked for it
    ("l2tp", l2tp(4, 4) + b"x", None),
    ("openflow", openflow(4, (1, be(0, 2) + be(0, 2) + b"no version")), "versions do not fit (0/0)"),
    ("openflow", openflow(1, (19, b""), (1, be(3, 2) + be(0, 2) + bytes(64))), "flow refused (3/0)"),
    ("openflow", openflow(4, (1, be(5, 2) + be(1, 2) + bytes(64))), "flow refused (5/1)"),
    ("openflow", openflow(4, (1, be(1, 2) + be(3, 2) + bytes(64))), "request not offered (1/3)"),
    ("openflow", openflow(1, (1, be(77, 2) + be(0, 2))), None),
    ("openflow", openflow(4, (6, bytes(24))), ""),
    ("openflow", openflow(4, (2, b"")), None),
    ("pptp", pptp(2, 14, 4), "not authorized (4)"),
    ("pptp", pptp(8, 16, 7), "call: not accepted (7)"),
    ("pptp", pptp(2, 14, 1), ""),
    ("pptp", pptp(6, 14, 4), None),  # an answer to an echo
    ("dhcpv6", dhcpv6(2, option(3, bytes(12) + option(13, b"\x00\x02no"))), "no addresses available"),
    ("dhcpv6", dhcpv6(7, option(3, bytes(12) + option(5, bytes(24)))), ""),
    ("dhcpv6", dhcpv6(7, option(3, bytes(12) + option(13, b"\x00\x04"))), None),
    ("dhcpv6", dhcpv6(7, b"\x00\x03\x00\xff\x00"), None),
    ("ike", ike(0x10, 5, 11, be(1, 4) + b"\x01\x00\x00\x0e"), "no proposal chosen"),
    ("ike", ike(0x20, 34, 41, b"\x00\x00\x00\x0e", 0x20), "no proposal chosen"),
    ("ike", bytes(4) + ike(0x20, 34, 41, b"\x00\x00\x00\x0e", 0x20), "no proposal chosen"),
    ("ike", ike(0x20, 34, 41, b"\x00\x00\x00\x11\x00\x0e", 0x20), None),  # another group
    ("ike", ike(0x10, 5, 11, be(1, 4) + b"\x01\x00\x00\x0e", 1), None),  # encrypted
    ("ike", ike(0x20, 34, 33, bytes(40), 0x20), ""),
    ("dhcp", dhcp(2, 6), "NAK"),
    ("dhcp", dhcp(1, 4), "DECLINE by the client: the address is in use"),
    ("dhcp", dhcp(2, 5), ""),
    ("dhcp", dhcp(1, 3), None),
    ("mgcp", b"510 1 Protocol Error: Forbidden parameter line present.\n", "510 protocol error"),
    ("mgcp", b"401 7\r\n", "401 off the hook"),
    ("mgcp", b"499 31656860 what\n", "499"),
    ("mgcp", b"200 31656860 ok\n", ""),
    ("mgcp", b"100 31656860 wait\n", None),
    ("mgcp", b"RQNT 1 *@gateway.test MGCP 0.1\n", None),
    ("mgcp", b"510 Protocol Error\n", None),  # no transaction
    ("dnp3", dnp3(b"\x00\x06"), "parameter error (IIN2 0x06)"),
    ("dnp3", dnp3(b"\x10\x01"), "function not supported (IIN2 0x01)"),
    ("dnp3", dnp3(b"\x90\x00"), ""),
    ("dnp3", dnp3(b"\x00\x04", 0x82), None),  # unasked
    ("dnp3", dnp3(b"\x00\x04")[:10] + b"\x80" + dnp3(b"\x00\x04")[11:], None),  # goes on
    ("iec104", iec104(45, 0x47), "confirmed negatively (7)"),
    ("iec104", iec104(100, 0x6E), "unknown common address (46)"),
    ("iec104", iec104(103, 0x47), "clock: confirmed negatively (7)"),
    ("iec104", iec104(101, 0x6C), "counters: type not known (44)"),
    ("iec104", iec104(100, 0x07), ""),
    ("iec104", iec104(1, 0x03), None),  # spontaneous
    ("iec104", b"\x68\x04\x43\x00\x00\x00", None),  # a test
    ("bacnet", bacnet(b"\x50\x01\x0c\x91\x01\x91\x1f"), "error: unknown object (31)"),
    ("bacnet", bacnet(b"\x50\x01\x0f\x91\x02\x91\x28", b"\x08\0\x05\x01\x0c"), "error: write access denied (40)"),  # from behind a router
    ("bacnet", bacnet(b"\x50\x01\x05\x0e\x91\x02\x91\x2c\x0f"), "error: no COV for this property (44)"),
    ("bacnet", bacnet(b"\x60\x01\x09", link=b"\x04\x0a\0\0\1\xba\xc0"), "rejected: unrecognized service (9)"),  # forwarded
    ("bacnet", bacnet(b"\x71\x01\x04"), "aborted: segmentation not supported (4)"),
    ("bacnet", bacnet(b"\x30\x01\x0c\x0c\0\0\0\1"), ""),
    ("bacnet", bacnet(b"\x00\x04\x01\x0c\x0c\0\0\0\1\x19\x55"), None),  # a request
    ("bacnet", bacnet(b"\x10\x08"), None),  # who is there
    ("bacnet", bacnet(b"\x50\x01\x0c\x91\x01\x92\x02\x00"), None),  # a maker's own code
    ("cip", cip(b"\xcc\0\x05\x01\0\0"), "path destination unknown (no such tag) (status 0x05)"),
    ("cip", cip(b"\xcc\0\x0f\0", b"\x07\0", 0x70), "privilege violation (status 0x0f)"),
    ("cip", cip(b"\xcc\0\0\0\xca\0" + bytes(4)), ""),
    ("cip", cip(b"\xcc\0\x06\0\xca\0" + bytes(4)), ""),  # in parts
    ("cip", cip(b"\x4c\x05\x91\x08Pressure\1\0"), None),  # a request
    ("cip", b"\x65\0\4\0" + bytes(24), None),  # a session begins
    ("opc-ua", opc_ua_results(634, 1, b"\x02" + le(0x80340000, 4)), "read: BadNodeIdUnknown"),
    ("opc-ua", opc_ua_results(634, 2, (b"\x0a" + le(0x80340000, 4) + bytes(8)) * 2), "read: BadNodeIdUnknown"),
    ("opc-ua", opc_ua_results(634, 1, b"\x03\0" + le(0x803A0000, 4)), "read: BadNotReadable"),  # with a value of no type
    ("opc-ua", opc_ua_results(634, 2, b"\x02" + le(0x80340000, 4) + b"\x01\x0b" + bytes(8)), ""),  # one of two
    ("opc-ua", opc_ua_results(634, 1, b"\x02" + le(0x80350000, 4)), None),  # an attribute that it does not have
    ("opc-ua", opc_ua_results(676, 1, le(0x803B0000, 4)), "write: BadNotWritable"),
    ("opc-ua", opc_ua_results(676, 2, le(0x803B0000, 4) + bytes(4)), ""),
    ("opc-ua", opc_ua_results(754, 2, (le(0x80340000, 4) + bytes(19)) * 2), "monitored item: BadNodeIdUnknown"),
    ("opc-ua", opc_ua_results(715, 1, le(0x80750000, 4)), "call: BadMethodInvalid"),
    ("s7", s7(b"\x0a\0\0\0"), "item: object does not exist (0x0a)"),
    ("s7", s7(b"\xff\x04\0\x08\x2a\0" + b"\x05\0\0\0", 2), "item: address out of range (0x05)"),
    ("s7", s7(b"\xff\x03\0\1\1\0" + b"\xff\x09\0\4" + bytes(4), 2), ""),
    ("s7", s7(b"\x03", function=5), "item: access not allowed (0x03)"),
    ("s7", s7(b"", error=0x8500), "error 0x8500"),
    ("s7", b"\x03\0\0\x0b\x06\x80\0\1\0\0\3", "no connection: disconnected (reason 3)"),
    ("s7", b"\x03\0\0\x0b\x06\xd0\0\1\0\1\0", None),  # a connection
    ("s7", s7(b"", 0, 0xF0), None),
    ("nbd", nbd_reply(0x8001, 5), "I/O error (EIO, 5)"),
    ("nbd", nbd_reply(0x8002, 28), "no space (ENOSPC, 28)"),
    ("nbd", nbd_reply(1, 5), ""),  # data
    ("nbd", nbd_reply(5, 5), None),  # whether blocks are in use
    ("nbd", b"\x67\x44\x66\x98" + be(1, 4) + bytes(8), "EPERM (1)"),
    ("nbd", b"\x67\x44\x66\x98" + be(0, 4) + bytes(8), ""),
    ("knxnet-ip", knx(0x206, 0x24), "no more connections (0x24)"),
    ("knxnet-ip", knx(0x206, 0), ""),
    ("knxnet-ip", knx(0x208, 0x27), "error of the KNX connection (0x27)"),
    ("knxnet-ip", knx(0x208, 0), None),  # it stands
    ("tacacs", tacacs(1, 2), "login failed (FAIL)"),
    ("tacacs", tacacs(1, 1, 5), ""),
    ("tacacs", tacacs(2, 0x10), "not authorized (FAIL)"),
    ("tacacs", tacacs(1, 5), None),  # asks for the password
    ("tacacs", tacacs(1, 2, 0), None),  # encrypted
    ("diameter", diameter_of_3gpp(5001), "user unknown (5001)"),
    ("diameter", diameter_of_3gpp(2001), ""),
    ("gtp", gtp(78), "missing or unknown APN (78)"),
    ("gtp", gtp(16), ""),
    ("gtp", gtp(219, 1), "missing or unknown APN (219)"),
    ("gtp", gtp(128, 1), ""),
    ("gtp", b"\x40\x02\0\x09\0\0\1\0\3\0\1\0\0", None),  # an echo
    ("rpc", rpc(0, be(2, 4)), "mount: no such directory (2)"),
    ("rpc", rpc(0, be(2, 4) + bytes(8)), ""),
    ("ldap", ldap(0x64, 0) * 2 + ldap(0x65, 4), "sizeLimitExceeded (4)"),
    ("ldap", (ldap(0x64, 0) * 2)[:-2], "found"),
    ("dtls", b"\x15\xfe\xff" + bytes(8) + b"\x00\x02\x02\x0a", "unexpected message (10)"),
    ("dtls", b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\xf0", "alert (240)"),
    ("dtls", b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x01\x00", None),  # close_notify
    ("dtls", b"\x15\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x02\x02\x28", None),  # encrypted
]  # fmt: skip


def told(id_: str, message: bytes) -> str | None:
    try:
        return BY_ID[id_].read(message, len(message))
    except IndexError:
        return None


@pytest.mark.parametrize(("id_", "message", "said"), SAID)
def test_what_a_message_says(id_: str, message: bytes, said: str | None) -> None:
    assert told(id_, message) == said


def test_every_protocol_refuses_grants_or_ignores_something_here() -> None:
    assert {id_ for id_, _, said in SAID if said} == set(BY_ID) - {"kafka"}  # see below
    assert {id_ for id_, _, said in SAID if said is None} == set(BY_ID) - {"kafka"}


def kafka(version: int, error: int, partition: int = 0) -> bytes:
    """A Metadata response with one broker and one topic of one partition."""
    flexible = version >= 9
    text = b"\x02a" if flexible else b"\0\1a"
    none = b"\0" if flexible else b"\xff\xff"
    count, tags = (b"\x02", b"\0") if flexible else (be(1, 4), b"")
    out = be(7, 4) + tags + (bytes(4) if version >= 3 else b"")
    out += count + be(1, 4) + text + be(9092, 4) + (none if version >= 1 else b"") + tags
    out += (none if version >= 2 else b"") + (be(1, 4) if version >= 1 else b"")
    out += count + be(error, 2) + text + (bytes(16) if version >= 10 else b"") + (b"\0" if version >= 1 else b"")
    out += count + be(partition, 2) + be(0, 4) + be(1, 4) + (bytes(4) if version >= 7 else b"")
    out += (count + be(1, 4)) * 2 + ((b"\x01" if flexible else bytes(4)) if version >= 5 else b"") + tags
    return out + (bytes(4) if version >= 8 else b"") + tags + tags


@pytest.mark.parametrize("version", range(13))
def test_what_kafka_says_of_topics(version: int) -> None:
    """By the version that was asked for; without a question nothing is said."""
    asked, means = be(3, 2) + be(version, 2), QUESTIONS["kafka"].means
    for message, said in (
        (kafka(version, 5), "leader not available (5)"),
        (kafka(version, 0, 5), "leader not available (5)"),
        (kafka(version, 29), "topic authorization failed (29)"),
        (kafka(version, 0), ""),
        (kafka(version, 0)[:20], None),
    ):
        try:
            assert means(None, asked, message) == said
        except IndexError:
            assert said is None
    assert told("kafka", kafka(version, 5)) is None


@pytest.mark.parametrize(
    ("asked", "behind", "said"),
    [
        ((36, 1), be(58, 2), "SASL authentication failed (58)"),
        ((36, 2), b"\0" + be(58, 2), "SASL authentication failed (58)"),
        ((17, 1), be(33, 2), "SASL mechanism not supported (33)"),
        ((10, 2), bytes(4) + be(15, 2), "coordinator not available (15)"),
        ((10, 4), bytes(9), None),
        ((1, 4), bytes(9), None),  # fetch
        ((17, 1), be(0, 2), ""),
    ],
)
def test_what_kafka_says_of_logins_and_groups(asked: tuple[int, int], behind: bytes, said: str | None) -> None:
    assert QUESTIONS["kafka"].means(None, be(asked[0], 2) + be(asked[1], 2), be(7, 4) + behind) == said


@pytest.mark.parametrize("id_", sorted(BY_ID))
def test_messages_that_are_cut_or_damaged_are_no_fault_of_the_reader(id_: str) -> None:
    """Nothing but IndexError; and bytes by chance are rarely taken for a refusal."""
    chance = random.Random(id_)
    for _, message, _ in (each for each in SAID if each[0] == id_):
        for end in range(len(message)):
            told(id_, message[:end])
        for _ in range(200):
            damaged = bytearray(message)
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            told(id_, bytes(damaged))
    assert sum(bool(told(id_, chance.randbytes(chance.randrange(120)))) for _ in range(3000)) <= 3


def test_no_message_is_a_refusal_of_another_protocol() -> None:
    """What stands at the wrong port says nothing; RPC, NFS and the port mapper are one format, and S7 begins as an Access-Reject of that length does."""
    for id_, message, said in SAID:
        for other in BY_ID:
            if said and other != id_ and not {id_, other} <= {"rpc", "nfs", "portmap"} and (id_, other) != ("s7", "radius"):
                assert not told(other, message), (id_, other)
