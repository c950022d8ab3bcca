"""What a payload starts with, in one int64: enough for turn-taking without keeping any payload.

The hint is a function of one segment alone (``wire`` remembers nothing), so parts of a capture merge to the whole. A TLS segment that starts
with a record header is walked record by record as far as it was captured; one that does not is a continuation and has hint 0.

Layout: bits 0-3 class; TLS: 4 ClientHello, 5 ServerHello, 6 any handshake record, 7 ChangeCipherSpec, 8 alert, 9 application data,
10 the last record ends exactly at the end of the segment, 12-19 application-data records (at most 255), 20-35 length of the first,
36-51 length of the last application-data record, 52-55 how many at the beginning are as long as the first (at most 15).
HTTP request and response: 22-27 how many more begin in this segment (at most 15); response: 12-21 status code.
SOCKS reply: 4 it is the last one, behind which the tunnel begins.
Bytes of a PROXY header that stands before a request in the same segment: 36-51 (HTTP request only; elsewhere nothing counts them).
Bits 56-59 are written by the session fold: the class that the session is known to have at this segment (what later segments show does not
count, so that the size of a batch changes nothing).
"""

NOTHING, TLS, SSH, HTTP_REQUEST, HTTP_RESPONSE, HTTP2_PREFACE = 0, 1, 2, 3, 4, 5
#: What comes before another protocol on the same connection: CONNECT (RFC 9110 9.3.6), a SOCKS client's greeting or request, what a SOCKS server
#: says to it (RFC 1928, 1929), and a PROXY header alone in its segment.
CONNECT, SOCKS, SOCKS_REPLY, PROXY = 6, 7, 8, 9
CLASS_MASK = 15
LAST_REPLY = 1 << 4
CLIENT_HELLO, SERVER_HELLO, HANDSHAKE, CHANGE_CIPHER, ALERT, APPLICATION, WHOLE = 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9, 1 << 10
COUNT_SHIFT, FIRST_SHIFT, LAST_SHIFT, STATUS_SHIFT = 12, 20, 36, 12
PREFIX_SHIFT = 36
ALIKE_SHIFT, MAX_ALIKE = 52, 15
MORE_SHIFT, MAX_MORE = 22, 15
MORE_WITHIN = 16384  #: bytes of a segment in which further heads are looked for
TLS_MAX_RECORD = 16384 + 2048  #: RFC 5246 6.2.3: 2^14 + 2048 bytes of ciphertext at most (TLS 1.3: 2^14 + 256)
MAX_RECORDS_PER_SEGMENT = 64  #: a 64 kB offloaded segment holds a handful of full records; a hostile one of empty records ends here
PROTOCOL_SHIFT = 56
PROTOCOL_MASK = 15 << PROTOCOL_SHIFT
