"""SMB 1, 2 and 3 ([MS-CIFS] 2.2.3.1, [MS-SMB2] 2.2.1; status: [MS-ERREF] 2.3.1) at its login, shares and files.

Read are the answers to negotiate (no dialect in common: [MS-SMB2] 3.3.5.4), session setup, tree connect and create; of reading and writing only what no
program expects (a full disk, a session that was ended). Inside a session setup a Kerberos error is read (RFC 4178, RFC 4121).

Ordinary: MORE_PROCESSING_REQUIRED, names that are not there, ends of lists and files, PENDING, locks and files in use (unless that is all that a client hears
of files), ways of asking that a server does not know. That it takes none of the dialects of SMB 1 ([MS-CIFS] 2.2.4.52.2: index 0xFFFF) counts where a client
hears nothing else from that server: what speaks later versions as well comes again with them. An audit may come to hear just that.
"""

from netlens.parsers.denials._kerberos import error_inside
from netlens.parsers.denials._kinds import FOUND, NOTHING, At

ID, NAME = "smb", "SMB"
AT = At(tcp=(139, 445), mark=4)
CHALLENGES, APART = ("no dialect in common",), True
ANEW = 2  # a client that cannot be served tries anew; who tries dialects one by one finds one
CHECKS = ("no dialect in common",)
ASIDE = ("BAD_NETWORK_NAME to a share",)
DAILY, LAST = ("SHARING_VIOLATION", "IO_TIMEOUT"), ("SHARING_VIOLATION",)
_LOGIN, _SHARE, _FILE, _DATA, _NEGOTIATE = 1, 2, 3, 4, 5
_COMMANDS = {0x72: _NEGOTIATE, 0x73: _LOGIN, 0x75: _SHARE, 0xA2: _FILE, 0x2E: _DATA, 0x2F: _DATA}  # of SMB 1: the last two read and write
_COMMANDS2 = {0: _NEGOTIATE, 1: _LOGIN, 3: _SHARE, 5: _FILE, 8: _DATA, 9: _DATA, 17: _DATA}  # read, write, set info
_MORE, _NOT_SUPPORTED = 0xC0000016, 0xC00000BB
_ANY = {0xC000007F: "DISK_FULL", 0xC0000203: "USER_SESSION_DELETED", 0xC00000C9: "NETWORK_NAME_DELETED", 0xC000035C: "NETWORK_SESSION_EXPIRED",
        0xC0000044: "QUOTA_EXCEEDED"}  # fmt: skip
_AT_FILE = {**_ANY, 0xC0000022: "ACCESS_DENIED", 0xC0000043: "SHARING_VIOLATION", 0xC00000A2: "MEDIA_WRITE_PROTECTED", 0xC00000B5: "IO_TIMEOUT",
            0xC0000205: "INSUFF_SERVER_RESOURCES", 0xC000009A: "INSUFFICIENT_RESOURCES", 0xC000011F: "TOO_MANY_OPENED_FILES"}  # fmt: skip
_AT_LOGIN = {
    **_AT_FILE, 0xC000006D: "LOGON_FAILURE", 0xC000006E: "ACCOUNT_RESTRICTION", 0xC000006F: "INVALID_LOGON_HOURS", 0xC0000070: "INVALID_WORKSTATION",
    0xC0000071: "PASSWORD_EXPIRED", 0xC0000072: "ACCOUNT_DISABLED", 0xC0000193: "ACCOUNT_EXPIRED", 0xC0000224: "PASSWORD_MUST_CHANGE",
    0xC0000234: "ACCOUNT_LOCKED_OUT", 0xC000015B: "LOGON_TYPE_NOT_GRANTED", 0xC000005E: "NO_LOGON_SERVERS", 0xC0000064: "NO_SUCH_USER",
    0xC000006A: "WRONG_PASSWORD",
    0xC0000133: "TIME_DIFFERENCE_AT_DC", 0xC000018B: "NO_TRUST_SAM_ACCOUNT", 0xC000018D: "TRUSTED_RELATIONSHIP_FAILURE", 0xC00000CC: "BAD_NETWORK_NAME",
    0xC00000CB: "BAD_DEVICE_TYPE", 0xC00000D0: "REQUEST_NOT_ACCEPTED", 0xC00000BB: "NOT_SUPPORTED", 0xC000000D: "INVALID_PARAMETER",
    0xC00000BE: "BAD_NETWORK_PATH", 0xC0000192: "NETLOGON_NOT_STARTED", 0xC0000413: "AUTHENTICATION_FIREWALL_FAILED", 0xC0000388: "DOWNGRADE_DETECTED",
}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """By command and status of an answer."""
    if message[:6] == b"\xfeSMB\x40\x00" and len(message) >= 64 and message[16] & 1:
        status, command = int.from_bytes(message[8:12], "little"), _COMMANDS2.get(int.from_bytes(message[12:14], "little"), 0)
    elif message[:4] == b"\xffSMB" and len(message) >= 32 and message[9] & 0x80 and (message[11] & 0x40 or not message[5:9].strip(b"\0")):
        status, command = int.from_bytes(message[5:9], "little"), _COMMANDS.get(message[4], 0)
    else:
        return None
    if command == _NEGOTIATE and message[:1] == b"\xff":
        return "no dialect in common (SMB 1 only)" if message[32] and message[33:35] == b"\xff\xff" else FOUND
    if command == _NEGOTIATE:  # a scanner tries dialects one by one
        return FOUND if not status else f"{NOTHING}: no dialect in common" if status == _NOT_SUPPORTED else None
    if command == _LOGIN and (no := error_inside(message)):
        return f"Kerberos: {no}"
    if not status:
        return "" if command in (_LOGIN, _SHARE, _FILE) else None
    if status == _MORE or status >> 30 != 3:
        return None
    if command in (_LOGIN, _SHARE):
        return f"{_AT_LOGIN.get(status, f'status 0x{status:08X}')} to {'the login' if command == _LOGIN else 'a share'}"
    no = (_AT_FILE if command == _FILE else _ANY if command == _DATA else {}).get(status)
    return f"{no} to a file" if no else None
