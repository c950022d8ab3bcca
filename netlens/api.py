"""The Python API: captures as DataFrames."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, partial
from os import PathLike
from typing import TYPE_CHECKING, Generic, TypeVar

from netlens.errors import NetlensError

if TYPE_CHECKING:
    import pandas as pd

    from netlens.parsers.closely import Closely
    from netlens.parsers.pipeline import Part
    from netlens.parsers.records import RecordBuilder
    from netlens.parsers.trail import Trail
    from netlens.schema import Table

T = TypeVar("T")
#: reading one capture on two cores is so many times as fast as on one
ON_TWO_CORES = 1.35
TABLES = ("sessions", "connections", "lookups", "hellos", "exchanges", "tunnels", "quality")


class _Frame:
    """A table as a DataFrame, made when it is first asked for."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self.name = name

    def __get__(self, capture: Capture, _owner: type | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = capture.table(self.name).to_pandas()
        capture.__dict__[self.name] = frame  # found first from now on
        return frame


class _Kept(Generic[T]):
    """Something of what a pass kept that looked at what lenses ask for."""

    def __init__(self, of: Callable[[Closely], T]):
        self._of = of

    def __get__(self, capture: Capture, _owner: type | None = None) -> T:
        return self._of(capture._kept)


class Capture:
    """One capture (or several files that are one stream), read when a table is first asked for.

    Each table is a pandas DataFrame; its columns, dtypes and units are those of :mod:`netlens.tables` (``netlens.tables.ALL``). ``table(name)``
    gives the same as a :class:`netlens.schema.Table` of numpy arrays without importing pandas. Everything is built in one pass.

    Parameters
    ----------
    paths : files in order; "-" is standard input.
    tables : the tables that will be asked for (all by default); naming fewer makes the pass cheaper.
    spill_to : a folder on a disk; with a million sessions and more their state lies in a file there, as long as the capture is in use, and memory
        grows with the sessions that are in use. (By default it is all held in memory, 0.9 GB for each million.)

    trail : keep single segments as well, which lenses look at; else the capture is read again when they are asked for.

    Raises
    ------
    CaptureError, WireError
        when the first table is asked for and a file cannot be read.
    """

    def __init__(
        self,
        paths: Iterable[str | PathLike[str]],
        tables: Iterable[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
        spill_to: str | None = None,
        trail: bool = False,
    ):
        self.paths = [os.fsdecode(p) for p in paths]
        self._wanted = TABLES if tables is None else (tables,) if isinstance(tables, str) else tuple(tables)
        if unknown := set(self._wanted) - set(TABLES):
            raise NetlensError(f"no table is called {sorted(unknown)[0]!r}; there are {', '.join(TABLES)}")
        self._progress = progress
        self._spill_to = spill_to
        self._with_trail = trail
        #: what connections carry is hashed as well while it is read, to be compared with another capture's
        self.compared = False
        self._tables: dict[str, Table] = {}
        self._building = threading.RLock()

    @cached_property
    def part(self) -> Part:
        """The parsers' state after the pass."""
        return self._read(self._progress)

    def _read(self, progress: Callable[[int, int], None] | None, alone: bool = True) -> Part:
        from netlens.parsers import pipeline

        wanted = {"sessions"}
        for name in self._wanted:
            wanted |= _NEEDS[name]
        products = [p for p in pipeline.PRODUCTS if p in wanted] + ([pipeline.TRAIL] if self._with_trail else [])
        products += [pipeline.DIGESTS] if self._with_trail and self.compared else []
        return pipeline.run(self.paths, products, progress, self._spill_to, alone)

    @property
    def trail(self) -> Trail | None:
        """Single segments, for lenses; None of standard input that was read without."""
        return None if self._closely is None else self._closely.trail

    @property
    def records(self) -> RecordBuilder | None:
        """TLS records of connections that may be HTTP/2; None of standard input that was read without."""
        return None if self._closely is None else self._closely.records

    # -- the rest of what lenses look at; empty of standard input that was read without ``trail`` --

    #: Certificates that servers showed in clear, in order
    certificates = _Kept(lambda kept: kept.certificates.shown)
    #: ICMP errors and redirects, in order
    icmp_errors = _Kept(lambda kept: kept.errors.errors)
    #: Pings, ARP and neighbour discovery
    asking = _Kept(lambda kept: kept.asking)
    #: Answers of HTTP in clear that say how long they are, in order
    bodies = _Kept(lambda kept: kept.bodies.bodies)
    #: Frames of HTTP requests in clear for a WebSocket, and of answers that say that the port takes TLS alone
    upgrading = _Kept(lambda kept: kept.bodies.upgrading)
    wanting_tls = _Kept(lambda kept: kept.bodies.wanting_tls)
    #: Frames of HTTP requests in clear that ask to be kept waiting
    polls = _Kept(lambda kept: kept.bodies.polls)
    #: Frames of HTTP requests in clear for which a model makes up text, pictures or speech
    making_up = _Kept(lambda kept: kept.bodies.making_up)
    #: Sessions with an answer of HTTP in clear that is film or sound
    films = _Kept(lambda kept: kept.bodies.films)
    #: Final answers of HTTP in clear in sessions of which no request was seen
    unasked = _Kept(lambda kept: kept.bodies.unasked)
    #: Redirections of HTTP in clear, in order
    redirects = _Kept(lambda kept: kept.bodies.redirects)
    #: By frame, a number of host and path of requests of HTTP in clear
    asked = _Kept(lambda kept: kept.bodies.asked)
    #: By frame, a number of the path of these requests
    asked_paths = _Kept(lambda kept: kept.bodies.paths)
    #: By frame, a number of host and path without its last name, of these requests
    asked_within = _Kept(lambda kept: kept.bodies.parents)
    #: Frames of HTTP requests in clear with a password or a token (Authorization), see :class:`netlens.parsers.bodies.BodyBuilder`
    bearing = _Kept(lambda kept: kept.bodies.bearing)
    #: Frames of those of these requests that may make something (POST, PUT, PATCH, MKCOL)
    making = _Kept(lambda kept: kept.bodies.making)
    #: Frames of those of these that change only what is still as their client knows it (If-Match, If-Unmodified-Since, If)
    matching = _Kept(lambda kept: kept.bodies.matching)
    #: Frames of those that ask for what browsers and systems look for at every site
    probing = _Kept(lambda kept: kept.bodies.probing)
    #: Frames of those by which a browser asks whether it may send a request (CORS)
    preflights = _Kept(lambda kept: kept.bodies.preflights)
    #: Answers of HTTP in clear that come in chunks, in order
    chunked = _Kept(lambda kept: kept.bodies.chunks.answers)
    #: Answers of HTTP in clear that send the client to a host, in order
    sent_elsewhere = _Kept(lambda kept: kept.bodies.sent)
    #: By frame, the session of requests of HTTP in clear that want to be told to go on (RFC 9110 10.1.1) and were not
    expecting = _Kept(lambda kept: {frame: k for frame, k in kept.bodies.expecting.items() if k not in kept.bodies.told_to_go_on})
    #: Frames in which a request of HTTP in clear begins whose head does not end there
    headless = _Kept(lambda kept: kept.bodies.headless)
    #: Sessions in which more came with a 101 (Switching Protocols) than its head, or not all of that
    spoke_at_once = _Kept(lambda kept: kept.bodies.spoke_at_once)
    #: What proxies answered to CONNECT, in order
    proxied = _Kept(lambda kept: kept.bodies.proxied)
    #: What servers of the protocols in :mod:`netlens.parsers.denials` answered, in order
    denials = _Kept(lambda kept: kept.denials.answers + kept.link.answers + kept.vehicles.answers)
    #: What clocks say over NTP, in order
    clocks = _Kept(lambda kept: kept.clocks.stamps)
    #: Questions of DNS with two answers that contradict each other, in order
    second_answers = _Kept(lambda kept: kept.second_answers.found)
    #: What may be blocks of TFTP, see :mod:`netlens.parsers.blocks`
    blocks = _Kept(lambda kept: kept.blocks.blocks())
    #: Messages of calls over SIP in clear, in order
    calls = _Kept(lambda kept: kept.calls.messages)
    #: What hosts ask on a link itself
    link = _Kept(lambda kept: kept.link)
    #: Errors of PostgreSQL in clear, in order
    fatal = _Kept(lambda kept: kept.fatal.errors)
    #: The database for which connections to PostgreSQL in clear ask, as a number, by session
    databases = _Kept(lambda kept: kept.fatal.databases)
    #: Calls of gRPC in clear, by session
    grpc = _Kept(lambda kept: kept.grpc.sessions)
    #: What both ends of SSH offer, by session
    offers = _Kept(lambda kept: kept.offers.sessions)
    #: Who advertises by VRRP or HSRP, by network, number and addresses of the virtual router
    virtual_routers = _Kept(lambda kept: kept.routers.virtual | kept.hsrp.virtual)
    #: What routers say that hosts are to ask for by DHCPv6 (:data:`netlens.parsers.routers.ADDRESSES`, and other things; 0: one does not say it)
    promised = _Kept(lambda kept: kept.routers.promised)
    #: Router advertisements, by interface of the capture
    router_advertisements = _Kept(lambda kept: kept.routers.advertised)
    #: What switches say on links (:mod:`netlens.parsers.switches`)
    switches = _Kept(lambda kept: kept.switches)
    #: What stations and access points of IEEE 802.11 say (:mod:`netlens.parsers.wlan`)
    wlan = _Kept(lambda kept: kept.wlan)
    #: Who looks for PROFINET devices, and which answer (:mod:`netlens.parsers.stations`)
    stations = _Kept(lambda kept: kept.stations)
    #: What controllers of CAN say of their bus, and how many other frames there are (:mod:`netlens.parsers.vehicles`)
    vehicles = _Kept(lambda kept: kept.vehicles)
    #: Hellos of OSPF, by network
    ospf = _Kept(lambda kept: kept.ospf.networks)
    #: How routers of OSPF begin to exchange their databases, by network, sender and receiver
    described = _Kept(lambda kept: kept.ospf.described)
    #: Hellos of IS-IS and EIGRP (:mod:`netlens.parsers.isis`)
    isis = _Kept(lambda kept: kept.isis)
    #: How tunnels begin over UDP: IKE and OpenVPN (:mod:`netlens.parsers.vpn`)
    vpn = _Kept(lambda kept: kept.vpn)
    #: Registrations of NHRP, by who asks and whom
    registrations = _Kept(lambda kept: kept.nhrp.registrations)
    #: Packets of tunnels and SCTP, by IP protocol, sender and receiver
    carried = _Kept(lambda kept: kept.carried.pairs)
    #: Associations of SCTP that were asked for and answered
    associations = _Kept(lambda kept: kept.carried.associations)
    #: int64[n, 8]: packets that may be RTP, in order (:mod:`netlens.parsers.rtp`)
    rtp = _Kept(lambda kept: kept.rtp.packets())
    #: int64[n, 14]: datagrams of transport streams, in order (:mod:`netlens.parsers.transport_streams`)
    transport = _Kept(lambda kept: kept.transport.datagrams())
    #: DHCP messages by the client's hardware address, in order
    leases = _Kept(lambda kept: kept.leases.messages)
    #: Requests over UDP that bear a mark of their own, with their repeats
    requests = _Kept(lambda kept: kept.requests.requests)
    #: How connections of QUIC begin, in order
    quic = _Kept(lambda kept: kept.quic.openings)
    #: Whether all of them were read
    quic_whole = _Kept(lambda kept: kept.quic.whole)
    #: Answers of servers of QUIC that do not have the client's version, in order
    negotiated = _Kept(lambda kept: kept.quic.negotiated)
    #: How handshakes of DTLS begin, in order
    dtls = _Kept(lambda kept: kept.dtls.openings)
    #: What ends of BFD say of their sessions, by sender, receiver and discriminator
    bfd = _Kept(lambda kept: kept.bfd.sessions)

    @cached_property
    def _closely(self) -> Closely | None:
        """What a pass kept that looked at what lenses ask for, if there can be one."""
        if self.part.closely is not None or "-" in self.paths:
            return self.part.closely
        from netlens.parsers import pipeline

        return pipeline.run(self.paths, ["sessions", pipeline.TRAIL], self._progress, self._spill_to).closely

    @property
    def _kept(self) -> Closely:
        """The same; empty where there was none."""
        from netlens.parsers.closely import Closely

        return self._closely or Closely()

    def table(self, name: str) -> Table:
        """A table by name, as numpy columns."""
        if name not in self._tables:
            if name not in TABLES:
                raise NetlensError(f"no table is called {name!r}; there are {', '.join(TABLES)}")
            if name not in self._wanted and not _NEEDS[name] <= set().union(*(_NEEDS[w] for w in self._wanted)):
                raise NetlensError(f"this capture was read without {name}; name it: netlens.read(path, tables=[..., {name!r}])")
            with self._building:
                if name not in self._tables:
                    self._build(name)
        return self._tables[name]

    def session_blocks(self) -> Iterator[Table]:
        """The table of sessions in tables of some rows each, for where it is too large to be held at once."""
        return iter([self._tables["sessions"]]) if "sessions" in self._tables else self.part.session_blocks()

    def _build(self, name: str) -> None:
        from netlens.parsers.pipeline import LIGHT

        part = self.part
        alone = {"sessions": part.sessions, "hellos": part.hellos.rows, "exchanges": part.exchange_rows, "quality": part.quality}
        if name in alone:
            # where nothing else was asked for, nobody asks for the state of the sessions again
            self._tables[name] = part.last_sessions() if name == "sessions" and part.products == LIGHT else alone[name]()
            if name == "exchanges":
                part.exchanges = None  # it holds as much memory as the table, and nobody asks it again
        elif name == "lookups" and "tunnels" not in part.products:
            assert part.lookups is not None
            self._tables[name] = part.lookups.rows()
        else:
            from netlens.parsers import connections, processes

            assert part.lookups is not None
            made = connections.build(part.state(), self.table("sessions"), part.lookups.rows(), part.through())
            made[0].columns["process"] = processes.owners(made[0], self.table("sessions"), part.inputs)
            self._tables["connections"], self._tables["lookups"], self._tables["tunnels"] = made

    sessions = _Frame()
    connections = _Frame()
    lookups = _Frame()
    hellos = _Frame()
    exchanges = _Frame()
    tunnels = _Frame()
    quality = _Frame()

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that kept part of the input from being read."""
        from netlens.parsers import quality

        return [w for i in self.part.inputs for w in i.warnings] + quality.named(self.paths, self.part.unread())


_NEEDS = {
    "sessions": {"sessions"},
    "hellos": {"hellos"},
    "exchanges": {"exchanges"},
    "quality": {"sessions"},
    "connections": {"sessions", "lookups", "tunnels"},
    "lookups": {"sessions", "lookups"},
    "tunnels": {"sessions", "lookups", "tunnels"},
}


class _Stopped(Exception):
    """Another capture cannot be read, or the user does not want to wait."""


def read_side_by_side(captures: Iterable[Capture]) -> None:
    """Read those captures that have not been read: a core each, where that takes less time than one after the other on two. Several will be compared.

    Raises
    ------
    CaptureError, WireError
        one of them cannot be read; of several the first.
    """
    from netlens.parsers.packet_digests import readable_again
    from netlens.threads import cores, in_parallel

    every = list(captures)
    left = [each for each in every if "part" not in vars(each)]
    for each in left:
        each.compared = len(every) > 1
    sizes = [sum(os.stat(path).st_size for path in each.paths) if readable_again(each.paths) else 0 for each in left]
    if cores() < len(left) or not all(sizes) or sum(sizes) < ON_TWO_CORES * max(sizes, default=0):
        for each in left:
            _ = each.part
        return
    errors: list[BaseException | None] = [None] * len(left)
    stopped = threading.Event()

    def one(k: int) -> None:
        def progress(done: int, frames: int) -> None:
            if stopped.is_set():
                raise _Stopped
            if (told := left[k]._progress) is not None:
                told(done, frames)

        try:
            left[k].part = left[k]._read(progress, alone=False)
        except BaseException as error:  # noqa: BLE001 -- raised again below
            stopped.set()
            errors[k] = error

    in_parallel(*(partial(one, k) for k in range(len(left))))
    for error in errors:
        if error is not None and not isinstance(error, _Stopped):
            raise error


def read(
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
    tables: Iterable[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Capture:
    """A capture from one path, or from several files of one rotated capture in order.

    Examples
    --------
    >>> import netlens
    >>> capture = netlens.read("capture.pcap")                       # doctest: +SKIP
    >>> capture.sessions[["orig_ip", "resp_ip", "state"]].head()     # doctest: +SKIP
    """
    single = isinstance(paths, (str, bytes)) or hasattr(paths, "__fspath__")
    return Capture([paths] if single else paths, tables, progress)  # type: ignore[list-item, arg-type]
