"""The declared schemas of all tables, in one place so that docs, exports and tests read the same list.

Column names of the first lines of each table are the public contract; renaming one breaks users.
"""

from __future__ import annotations

from netlens.schema import Column as C
from netlens.schema import Schema

SESSIONS = Schema(
    "sessions",
    (
        C("session_id", "int64", "", "derived", "Number of the session in order of first frame, from 0. Wireshark's tcp.stream has the same order, but may be higher: it also counts connections that ICMP errors quote."),
        C("orig_ip", "string", "", "read", "Address of the originator: who sent the first SYN; without one, see parsers.sessions."),
        C("orig_port", "int64", "", "read", "TCP port of the originator."),
        C("resp_ip", "string", "", "read", "Address of the responder."),
        C("resp_port", "int64", "", "read", "TCP port of the responder."),
        C("start_ns", "int64", "ns since 1970 UTC", "read", "Time of the first frame."),
        C("end_ns", "int64", "ns since 1970 UTC", "read", "Time of the last frame."),
        C("duration_s", "float64", "s", "derived", "end_ns - start_ns."),
        C("state", "string", "", "derived", "Zeek's conn_state: S0 S1 SF REJ S2 S3 RSTO RSTR RSTOS0 RSTRH SH SHR OTH."),
        C("history", "string", "", "derived", "Zeek's history letters, upper case by the originator; cut after 48 letters."),
        C("orig_frames", "int64", "frames", "read", "Frames sent by the originator."),
        C("resp_frames", "int64", "frames", "read", "Frames sent by the responder."),
        C("orig_bytes", "int64", "bytes", "derived", "Payload bytes of the originator seen at least once; a retransmission counts once."),
        C("resp_bytes", "int64", "bytes", "derived", "Payload bytes of the responder seen at least once."),
        C("orig_retransmits", "int64", "frames", "derived", "Frames of the originator that repeat a SYN, FIN or payload already seen on this interface, or fill a hole later than out_of_order. What was duplicated on the way or recorded twice here is among them."),
        C("resp_retransmits", "int64", "frames", "derived", "Frames of the responder that repeat a SYN, FIN or payload already seen on this interface, or fill a hole later than out_of_order."),
        C("orig_isn", "nullable_int64", "", "read", "Initial sequence number of the originator: its SYN's, or the SYN+ACK's acknowledgment - 1; null if unknown."),
        C("resp_isn", "nullable_int64", "", "read", "Initial sequence number of the responder; null if its SYN was neither seen nor acknowledged by a handshake."),
        C("first_frame", "int64", "", "read", "Frame number of the first frame, from 1 as in Wireshark."),
        C("last_frame", "int64", "", "read", "Frame number of the last frame."),
        C("sni", "string", "", "read", "Server name of the first ClientHello; null without one."),
        C("orig_out_of_order", "int64", "frames", "derived", "Frames of the originator that fill a hole within 3/4 of handshake_ms (3 ms without), sooner than a retransmission could."),
        C("resp_out_of_order", "int64", "frames", "derived", "Frames of the responder that fill a hole within 3/4 of handshake_ms (3 ms without)."),
        C("orig_copies", "int64", "frames", "inferred", "Frames of the originator that repeat one seen on another interface (not retransmissions)."),
        C("resp_copies", "int64", "frames", "inferred", "Frames of the responder that repeat one seen on another interface."),
        C("orig_keepalives", "int64", "frames", "derived", "Keep-alive probes of the originator (RFC 9293 3.8.4): 0 or 1 byte just below the next sequence number."),
        C("resp_keepalives", "int64", "frames", "derived", "Keep-alive probes of the responder."),
        C("orig_zero_windows", "int64", "frames", "read", "Frames in which the originator advertised a zero window (not SYN, FIN or RST)."),
        C("resp_zero_windows", "int64", "frames", "read", "Frames in which the responder advertised a zero window."),
        C("orig_missing_bytes", "int64", "bytes", "derived", "Bytes of the originator that the responder acknowledged but that are not in the capture: capture loss. What was sent before it is left out."),
        C("resp_missing_bytes", "int64", "bytes", "derived", "Bytes of the responder that the originator acknowledged but that are not in the capture."),
        C("orig_fin_ns", "nullable_int64", "ns since 1970 UTC", "read", "Time of the originator's first FIN."),
        C("resp_fin_ns", "nullable_int64", "ns since 1970 UTC", "read", "Time of the responder's first FIN."),
        C("rst_ns", "nullable_int64", "ns since 1970 UTC", "read", "Time of the first RST of either side."),
        C("closed_ns", "nullable_int64", "ns since 1970 UTC", "derived", "When it was over: the second FIN or the first RST, whichever is first; null while open."),
        C("half_closed_s", "float64", "s", "derived", "From the first FIN to closed_ns, or to the last frame if it never closed; NaN without a FIN."),
        C("orig_bytes_after_fin", "int64", "bytes", "derived", "Payload the originator sent after the responder's FIN."),
        C("resp_bytes_after_fin", "int64", "bytes", "derived", "Payload the responder sent after the originator's FIN."),
        C("handshake_ms", "float64", "ms", "derived", "From the last SYN to the originator's first ACK after the SYN+ACK (Wireshark's initial RTT); NaN if not seen."),
        C("synack_ms", "float64", "ms", "derived", "From the last SYN to the SYN+ACK; NaN if not seen."),
        C("orig_first_payload_ns", "nullable_int64", "ns since 1970 UTC", "read", "First frame with payload of the originator."),
        C("orig_last_payload_ns", "nullable_int64", "ns since 1970 UTC", "read", "Last frame with new payload of the originator."),
        C("resp_first_payload_ns", "nullable_int64", "ns since 1970 UTC", "read", "First frame with payload of the responder."),
        C("resp_last_payload_ns", "nullable_int64", "ns since 1970 UTC", "read", "Last frame with new payload of the responder."),
        C("protocol", "string", "", "inferred", "tls, ssh, http or null: what the first payload looked like; inside a CONNECT or SOCKS tunnel or behind a PROXY header, what follows there."),
        C("saw_syn", "bool", "", "read", "A SYN without ACK was captured, so start_ns is the true start."),
    ),
)

CONNECTIONS = Schema(
    "connections",
    (
        C("connection_id", "int64", "", "derived", "Number of the connection in order of start."),
        C("path", "string", "", "inferred", "Relays that this capture shows by itself: sshuttle or nat; direct: none. nat: its translated copy was captured (nat_ip), or a private address reached a public one, which must have been translated beyond this capture (nat_ip is null). analyze follows all of them over all captures (chains in its JSON)."),
        C("orig_ip", "string", "", "read", "Address of the program's machine (before any translation seen here)."),
        C("orig_port", "int64", "", "read", "TCP port of the program."),
        C("resp_ip", "string", "", "read", "Address of the server: the original destination, even behind a redirect."),
        C("resp_port", "int64", "", "read", "TCP port of the server."),
        C("sni", "string", "", "read", "Server name of the ClientHello; null without one."),
        C("start_ns", "int64", "ns since 1970 UTC", "read", "First frame of any of its sessions."),
        C("end_ns", "int64", "ns since 1970 UTC", "derived", "When it was over: both FINs or an RST; else its last frame."),
        C("duration_s", "float64", "s", "derived", "end_ns - start_ns; NaN if the clock was set back in between."),
        C("session_ids", "list<int64>", "", "derived", "The sessions that this connection is made of."),
        C("process", "string", "", "read", "Program whose socket it is, from PKTAP, pcapng or samples of sockets; null if unknown."),
        C("vantage", "string", "", "inferred", "host or vm: where this capture was made; null if unknown."),
        C("origin", "string", "", "inferred", "host or vm: whose program opened it; null if unknown."),
        C("state", "string", "", "derived", "Zeek's conn_state of the whole, both halves read as one."),
        C("orig_bytes", "int64", "bytes", "derived", "Payload bytes of the program."),
        C("resp_bytes", "int64", "bytes", "derived", "Payload bytes of the server."),
        C("started_before_capture", "bool", "", "derived", "No SYN was captured: it was open when the capture began (left-censored)."),
        C("open_at_end", "bool", "", "derived", "Neither both FINs nor an RST were captured: still open at the end (right-censored)."),
        C("redirect_port", "nullable_int64", "", "read", "Local port of the transparent proxy; null if not redirected here."),
        C("nat_ip", "string", "", "read", "Address after source translation, if its copy was captured."),
        C("nat_port", "nullable_int64", "", "read", "Port after source translation."),
        C("tunnel_session_id", "nullable_int64", "", "inferred", "Session of the SSH connection that carried it, if known."),
        C("first_frame", "int64", "", "read", "Lowest first frame of its sessions."),
        C("last_frame", "int64", "", "read", "Highest last frame of its sessions."),
    ),
)

#: How long a segment lives (RFC 9293 3.4.2). Who opens a connection waits less than twice as long (RFC 1122 4.2.3.5: 3 minutes), so what an answer takes
#: longer is the clock's fault.
MSL_MS = 120_000
FAILURES = ("SERVFAIL", "REFUSED", "FORMERR", "NOTIMP")  #: rcodes of lookups that failed; NXDOMAIN is an answer
LOOKUPS = Schema(
    "lookups",
    (
        C("lookup_id", "int64", "", "derived", "Number of the lookup in order of its first frame."),
        C("qname", "string", "", "read", "Name asked for, as sent, without the final dot; bytes outside printable ASCII, dot and backslash in labels as \\DDD (RFC 1035 5.1)."),
        C("qtype", "string", "", "read", "Type mnemonic (A, AAAA, HTTPS, ...) or TYPEnnn (RFC 3597)."),
        C("rcode", "string", "", "read", "NOERROR, NXDOMAIN, ... of the answer; null while unanswered."),
        C("answers", "list<string>", "", "read", "Final records as text: addresses, or the rdata's names; the CNAME chain is in cnames."),
        C("cnames", "list<string>", "", "read", "CNAME chain from the question on, at most 16 steps."),
        C("query_ns", "nullable_int64", "ns since 1970 UTC", "read", "First query; null if only an answer was captured."),
        C("answer_ns", "nullable_int64", "ns since 1970 UTC", "read", "First answer; null while unanswered."),
        C("latency_ms", "float64", "ms", "derived", "answer_ns - query_ns; NaN if either is missing, or the clock was set back in between."),
        C("attempts", "int64", "datagrams", "derived", "Queries sent: the first and its retries; copies of one datagram on other interfaces count once each in copies."),
        C("copies", "int64", "datagrams", "inferred", "Query datagrams that are a copy of one seen on another interface or after translation."),
        C("orig_ip", "string", "", "read", "Who asked."),
        C("orig_port", "int64", "", "read", "Port of who asked."),
        C("resolver_ip", "string", "", "read", "Who was asked: the original destination, even behind a redirect, if the answer shows it."),
        C("transport", "string", "", "read", "udp, tcp or mdns."),
        C("path", "string", "", "inferred", "direct, nat or sshuttle, as for connections."),
        C("txid", "int64", "", "read", "Transaction id."),
        C("query_frame", "nullable_int64", "", "read", "Frame of the first query."),
        C("answer_frame", "nullable_int64", "", "read", "Frame of the first answer."),
        C("connection_ids", "list<int64>", "", "inferred", "Later connections of the same machine to an address this lookup returned (the latest lookup before each)."),
    ),
)

HELLOS = Schema(
    "hellos",
    (
        C("session_id", "int64", "", "derived", "Session that carries it."),
        C("frame", "int64", "", "read", "Frame that completed it."),
        C("time_ns", "int64", "ns since 1970 UTC", "read", "Time of that frame."),
        C("sni", "string", "", "read", "host_name of the server_name extension (RFC 6066); null without one."),
        C("alpn", "list<string>", "", "read", "Protocols offered (RFC 7301), in order."),
        C("random", "string", "", "read", "The 32 random bytes, in hexadecimal: equal on both sides of a tunnel."),
        C("version", "string", "", "read", "Highest version offered: TLS1.3, TLS1.2, TLS1.1, TLS1.0, SSL3.0."),
        C("ja4", "string", "", "derived", "JA4 fingerprint (FoxIO, 2023)."),
        C("length_bytes", "int64", "bytes", "read", "Length of the handshake message."),
        C("segments", "int64", "frames", "derived", "Frames with new payload it was spread over."),
    ),
)

EXCHANGES = Schema(
    "exchanges",
    (
        C("exchange_id", "int64", "", "derived", "Number of the exchange in order of start."),
        C("session_id", "int64", "", "derived", "Session that carries it."),
        C("start_ns", "int64", "ns since 1970 UTC", "read", "First byte of the request."),
        C("request_end_ns", "int64", "ns since 1970 UTC", "read", "Last byte of the request; after response_ns where the response came early."),
        C("response_ns", "nullable_int64", "ns since 1970 UTC", "read", "First byte of the response; null without one."),
        C("end_ns", "nullable_int64", "ns since 1970 UTC", "read", "Last byte of the response, complete or not; alerts, FIN and RST are not part of it. Null without one."),
        C("up_bytes", "int64", "bytes", "derived", "Payload bytes of the request (TLS records with their headers where TLS)."),
        C("down_bytes", "int64", "bytes", "derived", "Payload bytes of the response."),
        C("status", "nullable_int64", "", "read", "HTTP status if the response was readable; null if unknown."),
        C("rejected", "nullable_bool", "", "inferred", "Whether the provider refused it; null if unknown."),
        C("complete", "bool", "", "inferred", "The response ended because the client sent again or either side closed in order, not by the end of the capture or an RST, and is as long as HTTP/1.1 in clear says (Content-Length, the last chunk)."),
        C("start_frame", "int64", "", "read", "Frame of the request's first byte."),
        C("response_frame", "nullable_int64", "", "read", "Frame of the response's first byte."),
        C("end_frame", "nullable_int64", "", "read", "Frame of the response's last byte."),
    ),
)

TUNNELS = Schema(
    "tunnels",
    (
        C("session_id", "int64", "", "derived", "Session of the SSH connection."),
        C("orig_ip", "string", "", "read", "Who opened the SSH connection."),
        C("resp_ip", "string", "", "read", "Who runs sshd."),
        C("start_ns", "int64", "ns since 1970 UTC", "read", "First frame."),
        C("end_ns", "int64", "ns since 1970 UTC", "read", "Last frame."),
        C("duration_s", "float64", "s", "derived", "How long it was open, as far as captured."),
        C("orig_bytes", "int64", "bytes", "derived", "Payload towards sshd."),
        C("resp_bytes", "int64", "bytes", "derived", "Payload from sshd."),
        C("started_before_capture", "bool", "", "derived", "No SYN was captured."),
        C("side", "string", "", "inferred", "vm if the capture machine opened it, host if it runs the sshd; null if unknown."),
        C("carries", "string", "", "inferred", "sshuttle, or null if nothing shows that it carries forwarded connections."),
        C("connections", "int64", "", "inferred", "Connections attributed to it."),
        C("evidence", "string", "", "inferred", "What the attribution is based on, in words."),
    ),
)

QUALITY = Schema(
    "quality",
    (
        C("reason", "string", "", "derived", "What was counted; see the reference for the list."),
        C("frames", "int64", "frames", "derived", "Frames (or the unit the reason names)."),
        C("first_frame", "nullable_int64", "", "read", "First frame it happened at."),
        C("meaning", "string", "", "derived", "The reason in words, and what it affects."),
    ),
)

BUDGET = Schema(
    "budget",
    (
        C("budget_id", "int64", "", "derived", "Number of the request in order of begin_ns."),
        C("vantage", "string", "", "inferred", "Capture nearest to the program that shows the request: vm, host, or null where nobody told."),
        C("exchange_id", "nullable_int64", "", "derived", "Its row in the exchanges of that capture; null for an HTTP/2 stream."),
        C("session_id", "int64", "", "derived", "Session that carries it there."),
        C("stream", "nullable_int64", "", "read", "HTTP/2 stream; null for requests that take turns."),
        C("server", "string", "", "read", "Name (else address) and port of the server."),
        C("target", "bool", "", "inferred", "It goes to the target of the analysis."),
        C("party", "string", "", "inferred", "Whose it is, as the analysis names parties."),
        C("process", "string", "", "inferred", "Its program, where sockets were sampled; null if unknown."),
        C("begin_ns", "int64", "ns since 1970 UTC", "inferred", "First packet that was sent for it: the lookup's, the connection's, or the request's own; on the clock of the capture nearest to the server."),
        C("end_ns", "int64", "ns since 1970 UTC", "inferred", "Last byte of the answer where the program runs; without an answer, when the program gave up or the capture ended."),
        C("total_ns", "int64", "ns", "derived", "end_ns - begin_ns: exactly the sum of the phases below that are not null."),
        C("client_ns", "int64", "ns", "inferred", "The program: between lookup, connection and request, and while it handed the request over."),
        C("lookup_ns", "int64", "ns", "inferred", "Waiting for DNS; less what lies between two captures, which is in relays_ns."),
        C("connect_ns", "int64", "ns", "inferred", "TCP handshakes, from the first SYN on, with the wait for SYNs that were lost; less what lies between two captures, which is in relays_ns."),
        C("tls_ns", "int64", "ns", "inferred", "TLS handshakes; less what lies between two captures, which is in relays_ns."),
        C("relay_ns", "nullable_int64", "ns", "inferred", "On the way between captured hops: all of relays_ns; null where a relay is known but not captured on both sides (then it is in server and others)."),
        C("wire_ns", "nullable_int64", "ns", "inferred", "A round trip from the last hop to the server, the shortest that its connection shows (handshake, or data acknowledged; none of a SYN that was sent twice), and what of the request stood in a queue: sending while earlier bytes were not acknowledged (a delayed acknowledgment of one segment counts as a round trip); null if no handshake tells (then it is in server_ns)."),
        C("server_ns", "int64", "ns", "inferred", "From the last byte of the request to the first of the answer at the last hop, less the wire: the server and what is behind it."),
        C("unanswered_ns", "int64", "ns", "inferred", "Where no answer came before the program closed: from the last byte of the request until the program gave up or the capture ended. Nobody knows whether the server worked on it."),
        C("stream_ns", "int64", "ns", "inferred", "From the first to the last byte of the answer, where the program runs; less what a relay held the last byte back longer than the first."),
        C("stall_ns", "int64", "ns", "inferred", "Within any other phase: data that was lost and sent again was waited for, or a receiver's window was shut."),
        C("relays", "list<string>", "", "inferred", "The relays that were measured, from the program to the server."),
        C("relays_ns", "list<int64>", "ns", "inferred", "Time of each of relays."),
        C("uncertain_ns", "int64", "ns", "inferred", "How far what was measured between two captures (each way of the first relay) may be off for want of a common clock; their sum is exact."),
        C("status", "nullable_int64", "", "read", "HTTP status if it was readable."),
        C("complete", "bool", "", "inferred", "The answer was seen to end."),
        C("first_frame", "int64", "", "read", "Frame of the request's first byte in the capture of vantage."),
    ),
)

ALL = {s.name: s for s in (SESSIONS, CONNECTIONS, LOOKUPS, HELLOS, EXCHANGES, TUNNELS, QUALITY)}
