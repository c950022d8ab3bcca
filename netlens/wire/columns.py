"""The packet matrix: what one decoded packet is to every parser.

``decode`` fills one row of an ``int64[n, WIDTH]`` matrix per TCP segment or UDP datagram, in capture order. A row is 192 bytes, three cache
lines, and a batch of :data:`BATCH` rows stays in a core's L2 cache, so that parsers that run one after the other on the same batch read it at
cache speed. Everything is int64 (addresses are bit patterns of the two halves), because one dtype lets numba compile one kernel.

The last columns are written by ``parsers.sessions`` and read by the parsers after it.
"""

BATCH = 2048  #: packets per batch; half of it costs 1 to 2 % in call overhead, twice of it leaves a 1 MiB L2 cache

FRAME = 0  #: frame number, from 1, as Wireshark counts
TS = 1  #: capture time, ns since 1970 UTC
SRC_HI = 2  #: source address, upper 64 bits (0 for IPv4)
SRC_LO = 3  #: source address, lower 64 bits (0xffff<<32 | address for IPv4)
DST_HI = 4
DST_LO = 5
PORTS = 6  #: IP version (4 or 6) << 32 | source port << 16 | destination port
KIND = 7  #: 6 TCP, 17 UDP
LENGTH = 8  #: payload bytes on the wire (from the IP length, not from what was captured)
PAY_OFF = 9  #: where the payload starts in the batch's buffer
PAY_CAP = 10  #: payload bytes that were captured (<= LENGTH)
#: where it was captured: interface of the container (0 for all files of a rotated pcap) << 40 | what link.network_start tells apart inside it
#: (SLL2: ifindex << 8 | packet type; SLL: packet type; PKTAP: hash of the interface's name << 8; else 0). Packet type 4: sent by this machine.
#: Of what was heard on the air the lowest byte is 128, and 1 to and 2 from an access point, 8 if it is sent once more (Retry): so copies come by another way
IFACE = 11
SEQ = 12  #: TCP sequence number
ACK = 13  #: TCP acknowledgment number
FLAGS = 14  #: TCP flags, 12 bits: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK, 32 URG, 64 ECE, 128 CWR, 256 AE
WINDOW = 15  #: TCP window field, unscaled
TSVAL = 16  #: TCP timestamps, value << 32 | echo as a bit pattern; -1 without the option (both all ones cannot occur together in practice)
OPTIONS = 17  #: MSS (0 none) | window scale + 1 (0 none) << 16 | SACK permitted << 24 | SACK blocks << 25 | D-SACK << 29
HINT = 18  #: what the payload starts with, see wire.hints
SESSION = 19  #: row of the session this segment belongs to (index into the session state), -1 for UDP
DIRECTION = 20  #: 0 sent by the session's first endpoint (side 0 of its state), 1 by the other
OFFSET = 21  #: stream offset of the first payload byte from the start of that direction's stream (ISN + 1 is 0); may be negative for a stream joined mid-way
FRESH = 22  #: payload bytes of this segment that had not been seen before on this session
ORDINAL = 23  #: how many frames the session has, this one included
WIDTH = 24

FIN, SYN, RST, PSH, ACK_FLAG, URG = 1, 2, 4, 8, 16, 32
TCP, UDP = 6, 17
V4_PREFIX = 0xFFFF << 32
