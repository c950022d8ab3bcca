"""AMQP 0-9-1 (specification 2.3.5, 4.2.3; constants in 1.1): a connection or channel that the server closes with an error, or whose messages it
takes no more until it says so (RabbitMQ's extension connection.blocked).

Ordinary: code 200 (success), 320 (an operator closed it), 404 to a channel that asks whether something is there (a passive declaration), 406 to one that
acknowledges twice; not so 404 to one that publishes, consumes, gets or binds, nor 406 to one that publishes (what is too large), or declares what is there with
other properties (1.4.1.3: a close names the method that brought it about), nor 406 of RabbitMQ as a message was not acknowledged in time (its
consumer_timeout), which says so.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "amqp", "AMQP"
AT = At(tcp=(5672,))
DAILY = ("320", "404", "406")
AGAIN = ("acknowledge in time",)  # its client comes anew, and is given the same job
_CODES = {311: "content too large", 312: "no route", 313: "no consumers", 320: "connection forced", 402: "invalid path", 403: "access refused",
          404: "not found",
          405: "resource locked",
          406: "precondition failed", 501: "frame error", 502: "syntax error", 503: "command invalid", 504: "channel error",
          505: "unexpected frame", 506: "resource error", 530: "not allowed", 540: "not implemented", 541: "internal error"}  # fmt: skip
_CLOSE, _CHANNEL_CLOSE = b"\x00\x0a\x00\x32", b"\x00\x14\x00\x28"
_BLOCKED = (10, 60)
_LATE = b"delivery acknowledgement on channel"  # in RabbitMQ's reply (its guide to consumers, "Delivery Acknowledgement Timeout")
#: Classes and methods: connection.tune and .unblocked, exchange.declare-ok, queue.declare-ok and .bind-ok, basic.consume-ok, .get-ok and .get-empty
_GRANTS = {(10, 30), (10, 61), (40, 11), (50, 11), (50, 21), (60, 21), (60, 71), (60, 72)}
#: By code, methods of which the refusal is not ordinary
_USES = {
    404: {(60, 40): "publish", (60, 20): "consume", (60, 70): "get", (50, 20): "bind"},
    406: {(40, 10): "declare exchange", (50, 10): "declare queue", (60, 40): "publish"},
}


def read(message: bytes, length: int, /) -> str | None:
    """The method of a frame: tune (the login is through), what else was granted, blocked, or close."""
    if len(message) < 12 or message[0] != 1 or int.from_bytes(message[3:7], "big") + 8 > length:
        return None
    method, code = message[7:11], int.from_bytes(message[11:13], "big")
    if _numbers(method) in _GRANTS:
        return ""
    if _numbers(method) == _BLOCKED:
        return "messages blocked"
    if method not in (_CLOSE, _CHANNEL_CLOSE) or code not in _CODES:
        return None
    behind = 14 + message[13]  # the reply's text
    use = _USES.get(code, {}).get(_numbers(message[behind : behind + 4]))
    use = "acknowledge in time" if code == 406 and _LATE in message[14:behind] else use
    return f"{use}: {code} {_CODES[code]}" if use else f"{code} {_CODES[code]}"


def _numbers(method: bytes) -> tuple[int, int]:
    return int.from_bytes(method[:2], "big"), int.from_bytes(method[2:], "big")
