"""What lenses look at besides tables: single segments and messages, of a capture that is read in one part; kept for ``netlens analyze`` and by no other
command."""

from collections.abc import Sized

from netlens.columns import Array
from netlens.parsers.asking import AskingBuilder
from netlens.parsers.bfd import BfdBuilder
from netlens.parsers.blocks import BlockBuilder
from netlens.parsers.bodies import BodyBuilder
from netlens.parsers.calls import CallBuilder
from netlens.parsers.carried import CarriedBuilder
from netlens.parsers.certificates import CertificateBuilder
from netlens.parsers.clocks import ClockBuilder
from netlens.parsers.denials import DenialBuilder
from netlens.parsers.dtls_openings import HandshakeBuilder
from netlens.parsers.fatal_errors import FatalBuilder
from netlens.parsers.grpc import GrpcBuilder
from netlens.parsers.hellos import HelloBuilder
from netlens.parsers.hsrp import HsrpBuilder
from netlens.parsers.icmp import ErrorBuilder
from netlens.parsers.isis import IsisBuilder
from netlens.parsers.leases import LeaseBuilder
from netlens.parsers.link_talk import LinkBuilder
from netlens.parsers.nhrp import NhrpBuilder
from netlens.parsers.ospf import HelloBuilder as OspfBuilder
from netlens.parsers.quic_openings import OpeningBuilder
from netlens.parsers.records import RecordBuilder
from netlens.parsers.routers import RouterBuilder
from netlens.parsers.rtp import RtpBuilder
from netlens.parsers.second_answers import SecondAnswerBuilder
from netlens.parsers.sifting import GRPC, MAPPER, SIP, SSH, sift
from netlens.parsers.ssh_offers import OfferBuilder
from netlens.parsers.stations import StationBuilder
from netlens.parsers.switches import SwitchBuilder
from netlens.parsers.trail import Trail
from netlens.parsers.transport_streams import TransportBuilder
from netlens.parsers.udp_requests import RequestBuilder
from netlens.parsers.vehicles import VehicleBuilder
from netlens.parsers.vpn import VpnBuilder
from netlens.parsers.wlan import WlanBuilder
from netlens.wire import columns as c


class Closely:
    """All that is kept.  errors, asking, routers, link, switches, ospf, carried, vehicles, wlan, stations, isis, nhrp : of what makes no packet rows."""

    def __init__(self) -> None:
        self.errors, self.asking, self.routers, self.link = ErrorBuilder(), AskingBuilder(), RouterBuilder(), LinkBuilder()
        self.switches, self.ospf, self.carried, self.vehicles = SwitchBuilder(), OspfBuilder(), CarriedBuilder(), VehicleBuilder()
        self.wlan = WlanBuilder()
        self.stations, self.hsrp, self.isis = StationBuilder(), HsrpBuilder(), IsisBuilder()
        self.nhrp, self.vpn = NhrpBuilder(), VpnBuilder()
        self.trail, self.denials, self.calls = Trail(), DenialBuilder(), CallBuilder()
        self.leases, self.requests, self.bfd, self.quic = LeaseBuilder(), RequestBuilder(), BfdBuilder(), OpeningBuilder()
        self.dtls, self.clocks, self.second_answers, self.blocks = HandshakeBuilder(), ClockBuilder(), SecondAnswerBuilder(), BlockBuilder()
        self.records, self.certificates, self.bodies = RecordBuilder(), CertificateBuilder(), BodyBuilder()
        self.fatal, self.offers, self.grpc, self.rtp = FatalBuilder(), OfferBuilder(), GrpcBuilder(), RtpBuilder()
        self.transport = TransportBuilder()
        self._hellos_seen = 0

    @property
    def knows_links(self) -> bool:
        """Whether anything was read of what makes no packet rows, beside ICMP and ARP."""
        link, switches, routing, vehicles = self.link, self.switches, self.isis, self.vehicles
        kept: tuple[Sized, ...] = (
            *(link.sought, link.offered, link.answers, link.knocking, link.asking, switches.trees, switches.ports, self.routers.virtual),
            *(
                self.ospf.networks,
                routing.networks,
                routing.greetings,
                self.stations.sought,
                self.stations.found,
                vehicles.frames,
                vehicles.errors,
            ),
        )
        return any(map(len, kept)) or bool(self.nhrp.registrations) or any(pair.openings for pair in self.carried.pairs.values())

    def feed_rest(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        for each in (
            self.errors,
            self.asking,
            self.routers,
            self.link,
            self.switches,
            self.ospf,
            self.carried,
            self.vehicles,
            self.stations,
            self.isis,
            self.nhrp,
            self.wlan,
        ):
            each.feed(buf, rows)

    def feed(self, buf: Array, packets: Array, sessions: Array, hellos: HelloBuilder | None = None) -> None:
        """Take in a batch of packet rows (int64[n, WIDTH]) behind the session fold, with the state of the sessions.  hellos : if it holds TCP; they have taken
        it in before."""
        datagrams = packets[packets[:, c.KIND] == c.UDP]
        if len(datagrams):
            for each in (
                self.leases,
                self.requests,
                self.bfd,
                self.quic,
                self.dtls,
                self.rtp,
                self.clocks,
                self.second_answers,
                self.blocks,
                self.transport,
                self.hsrp,
                self.vpn,
            ):
                each.feed(buf, datagrams)
        there, of_databases = sift(buf, packets)
        self.denials.feed(buf, packets, datagrams, bool(there & MAPPER))
        if there & SIP:
            self.calls.feed(buf, packets)
        self.trail.feed(buf, packets, datagrams, sessions)
        if hellos is None:
            return
        offering, self._hellos_seen = hellos.http2_since(self._hellos_seen)
        if offering:
            self.records.follow(offering)
        self.records.feed(buf, packets, sessions)
        self.certificates.feed(buf, packets)
        self.bodies.feed(buf, packets)
        if len(of_databases):
            self.fatal.feed(buf, packets[of_databases])
        if there & SSH or self.offers.follows:
            self.offers.feed(buf, packets)
        if there & GRPC or self.grpc.sessions:
            self.grpc.feed(buf, packets)
