r"""Parsers of what macOS's programs print, odd lines included.

Nothing here was printed on a Mac: the lines are made up in documented formats. ifconfig(8), netstat(1), lsof(8), pfctl(8) and pf.conf(5), scutil(8) of
macOS 12 to 26; xnu keeps an interface's number in the second group of a link-local address, and lsof shows it; lsof writes what is not printable ASCII
as ``\xNN``.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from netlens.capture import facts
from netlens.capture.programs import network, pf, rules, sockets
from netlens.capture.programs.network import Interface, Route
from netlens.capture.programs.sockets import Socket
from tests.capture.test_programs import PARSERS, changed

IFCONFIG = """\
lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384
	options=1203<RXCSUM,TXCSUM,TXSTATUS,SW_TIMESTAMP>
	inet 127.0.0.1 netmask 0xff000000
	inet6 ::1 prefixlen 128
	inet6 fe80::1%lo0 prefixlen 64 scopeid 0x1
	nd6 options=201<PERFORMNUD,DAD>
gif0: flags=8010<POINTOPOINT,MULTICAST> mtu 1280
stf0: flags=0<> mtu 1280
anpi0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
	options=400<CHANNEL_IO>
	ether 02:00:5e:10:00:01
	media: none
	status: inactive
en0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500 index 14
	options=6460<TSO4,TSO6,CHANNEL_IO,PARTIAL_CSUM,ZEROINVERT_CSUM>
	ether 02:00:5e:10:00:02
	inet6 fe80::5eff:fe10:2%en0 prefixlen 64 secured scopeid 0xe
	inet6 2001:db8:0:1::7 prefixlen 64 autoconf secured
	inet6 2001:db8:0:1::8 prefixlen 64 deprecated autoconf temporary
	inet 192.168.101.89 netmask 0xffffff00 broadcast 192.168.101.255
	nat64 prefix 64:ff9b:: prefixlen 96
	nd6 options=201<PERFORMNUD,DAD>
	media: autoselect
	status: active
utun4: flags=8051<UP,POINTOPOINT,RUNNING,MULTICAST> mtu 1380
	inet 10.8.0.2 --> 10.8.0.1 netmask 0xffffff00
	inet6 fe80::5eff:fe10:3%utun4 prefixlen 64 scopeid 0x12
vmenet0: flags=8963<UP,BROADCAST,SMART,RUNNING,PROMISC,SIMPLEX,MULTICAST> mtu 1500
	ether 02:00:5e:10:00:04
bridge100: flags=8a63<UP,BROADCAST,SMART,RUNNING,ALLMULTI,SIMPLEX,MULTICAST> mtu 1500
	options=3<RXCSUM,TXCSUM>
	ether 02:00:5e:10:00:64
	inet 192.168.64.1 netmask 0xffffff00 broadcast 192.168.64.255
	inet6 fe80::5eff:fe10:64%bridge100 prefixlen 64 scopeid 0x16
	inet6 fd00:db8:64::1 prefixlen 64 tentative autoconf secured
	Configuration:
		id 0:0:0:0:0:0 priority 0 hellotime 0 fwddelay 0
		root id 0:0:0:0:0:0 priority 0 ifcost 0 port 0
		ipfilter disabled flags 0x0
	member: vmenet0 flags=10803<LEARNING,DISCOVER,PRIVATE,CSUM>
		ifmaxaddr 0 port 21 priority 0 path cost 0
	Address cache:
		2:0:5e:10:0:5 Vlan1 vmenet0 1187 flags=0<>
	media: autoselect
	status: active
"""

NETSTAT = """\
Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            192.168.101.1      UGScg                 en0
default            link#22            UCSIg           bridge100      !
127                127.0.0.1          UCS                   lo0
127.0.0.1          127.0.0.1          UH                    lo0
169.254            link#14            UCS                   en0      !
192.168.64         link#22            UC              bridge100      !
192.168.64.5       2:0:5e:10:0:5      UHLWIi          bridge100   1187
192.168.101.1      02:00:5e:10:00:99  UHLWIir               en0   1182
224.0.0/4          link#14            UmCS                  en0      !
255.255.255.255/32 link#14            UCS                   en0      !

Internet6:
Destination                             Gateway                                 Flags               Netif Expire
default                                 fe80::5eff:fe10:99%en0                  UGcg                  en0
default                                 fe80::%utun4                            UGcIg               utun4
fe80::%lo0/64                           fe80::1%lo0                             UcI                   lo0
fe80::5eff:fe10:64%bridge100            2:0:5e:10:0:64                          UHLI                  lo0
ff02::%utun4/32                         fe80::5eff:fe10:3%utun4                 UmCI                utun4
"""

LSOF = r"""p109
cremoted
f4
PTCP
n[fe80:4::5eff:fe10:22]:49153->[fe80:4::5eff:fe10:55]:59602
TST=ESTABLISHED
TQR=0
TQS=0
f5
PTCP
n[fe80:e::1]:49160
TST=LISTEN
p212
cmDNSResponder
f7
PUDP
n*:5353
f8
PUDP
n*:*
f9
PTCP
n*:*
TST=CLOSED
p640
ccom.apple.WebKit.Networking
f12
PUDP
n192.168.101.89:61000->203.0.113.7:443
p641
cCode\x20Helper\x20(Plugin)
f30
PTCP
n[2001:db8:0:1::7]:52110->[2001:db8:9::7]:443
TST=CLOSE_WAIT
TQR=0
TQS=0
f31
PTCP
n127.0.0.1:52111->127.0.0.1:9000
TST=SYN_SENT
p642
cCaf\xc3\xa9
f5
PTCP
n[::ffff:192.168.101.89]:52112->[::ffff:203.0.113.7]:443
TST=LAST_ACK
"""

SCUTIL = """\
DNS configuration

resolver #1
  search domain[0] : lan
  search domain[1] : corp.example
  nameserver[0] : fe80::5eff:fe10:99%en0
  nameserver[1] : 192.168.101.1
  if_index : 14 (en0)
  flags    : Request A records, Request AAAA records
  reach    : 0x00020002 (Reachable,Directly Reachable Address)

resolver #2
  domain   : corp.example
  nameserver[0] : 10.8.0.53
  flags    : Supplemental, Request A records
  reach    : 0x00000003 (Reachable,Transient Connection)
  order    : 103000

resolver #3
  domain   : 254.169.in-addr.arpa
  options  : mdns
  timeout  : 5
  order    : 300200

DNS configuration (for scoped queries)

resolver #1
  nameserver[0] : 192.168.101.9
  if_index : 14 (en0)

DNS configuration (for service-specific queries)

resolver #1
  nameserver[0] : 10.8.0.54
  flags    : Service-specific, Request A records
"""

PF_RULES = """\
pass out route-to lo0 inet proto tcp all flags S/SA keep state
pass out inet proto tcp from any to 203.0.113.9 port = 443 flags S/SA keep state
pass out route-to lo0 inet proto tcp from any to any port = 8443 user != 501 flags S/SA keep state
pass out route-to lo0 inet proto tcp from 192.168.64.0/24 to any port = 9443 flags S/SA keep state
anchor "com.apple/*" all
block return in quick on en0 inet proto tcp from any to any port = 5900
scrub-anchor "com.apple/*" all fragment reassemble
"""


def test_interfaces() -> None:
    """Members of a bridge, peers of a tunnel and the NAT64 prefix are no addresses; a scope id is left out; no interface is lost."""
    assert network.parse_ifconfig(IFCONFIG) == [
        Interface("lo0", ("127.0.0.1", "::1", "fe80::1"), True),
        Interface("gif0", (), False),
        Interface("stf0", (), False),
        Interface("anpi0", (), True),
        Interface("en0", ("fe80::5eff:fe10:2", "2001:db8:0:1::7", "2001:db8:0:1::8", "192.168.101.89"), True),
        Interface("utun4", ("10.8.0.2", "fe80::5eff:fe10:3"), True),
        Interface("vmenet0", (), True),
        Interface("bridge100", ("192.168.64.1", "fe80::5eff:fe10:64", "fd00:db8:64::1"), True),
    ]


def test_what_is_no_address_is_left_out() -> None:
    found = facts.parse({"ifconfig -a": "en0: flags=1<UP> mtu 1\n\tinet 10.0.0\n\tinet dead\n\tinet 10.0.0.7 netmask 0xff000000\n"})
    assert found.own_addresses() == ["10.0.0.7"]


def test_routes() -> None:
    """A neighbour's gateway is its hardware address, written short or long: that is no router."""
    gateways = {(r.destination, r.interface): r.gateway for r in network.parse_routes(NETSTAT)}
    assert len(gateways) == 14
    assert gateways["default", "en0"] == "fe80::5eff:fe10:99%en0"  # the last of the two tables
    assert gateways["192.168.64.5", "bridge100"] is gateways["192.168.101.1", "en0"] is gateways["224.0.0/4", "en0"] is None
    assert gateways["fe80::5eff:fe10:64%bridge100", "lo0"] is None
    assert gateways["default", "utun4"] == "fe80::%utun4"


def test_routes_with_the_columns_of_before_macos_11() -> None:
    text = """\
Routing tables

Internet:
Destination        Gateway            Flags        Refs      Use   Netif Expire
default            192.168.101.1      UGSc           20       16     en0
192.168.101.1      02:00:5e:10:00:99  UHLWIir        21       14     en0   1193
127.0.0.1          127.0.0.1          UH             54  2734893     lo0
"""
    assert network.parse_routes(text) == [
        Route("default", "192.168.101.1", "en0"),
        Route("192.168.101.1", None, "en0"),
        Route("127.0.0.1", "127.0.0.1", "lo0"),
    ]


def test_sockets() -> None:
    r"""``fe80:4::1`` is on the wire as ``fe80::1``; sockets without a port (``*:*``) are none yet; names have blanks, letters beyond ASCII, and are cut."""
    assert sockets.parse_sockets(LSOF) == [
        Socket("fe80::5eff:fe10:22", 49153, "fe80::5eff:fe10:55", 59602, "ESTABLISHED", "remoted", 109),
        Socket("fe80::1", 49160, None, None, "LISTEN", "remoted", 109),
        Socket("*", 5353, None, None, "UNCONNECTED", "mDNSResponder", 212, "udp"),
        Socket("192.168.101.89", 61000, "203.0.113.7", 443, "ESTABLISHED", "com.apple.WebKit.Networking", 640, "udp"),
        Socket("2001:db8:0:1::7", 52110, "2001:db8:9::7", 443, "CLOSE_WAIT", "Code Helper (Plugin)", 641),
        Socket("127.0.0.1", 52111, "127.0.0.1", 9000, "SYN_SENT", "Code Helper (Plugin)", 641),
        Socket("192.168.101.89", 52112, "203.0.113.7", 443, "LAST_ACK", "Café", 642),
    ]


def test_name_servers() -> None:
    assert network.parse_scutil_dns(SCUTIL) == ("fe80::5eff:fe10:99%en0", "192.168.101.1")
    without_scoped = SCUTIL.replace(
        "DNS configuration (for scoped queries)\n\nresolver #1\n  nameserver[0] : 192.168.101.9\n  if_index : 14 (en0)\n", ""
    )
    assert network.parse_scutil_dns(without_scoped) == ("fe80::5eff:fe10:99%en0", "192.168.101.1")
    assert network.parse_scutil_dns("No DNS configuration available\n") == ()


def test_rules_of_pf() -> None:
    """``from any to any`` is printed as ``all``; what is for one user or one source is no rule for all."""
    found = pf.parse_pf_rules(PF_RULES, "sshuttle-12300")
    assert [bool(rule.conditions) for rule in found] == [False, False, True, True]
    assert rules.redirected(found, "203.0.113.7", 443) is found[0]
    assert rules.redirected(found, "203.0.113.9", 443) is None
    assert rules.redirected(found[2:], "203.0.113.7", 8443) is rules.redirected(found[2:], "203.0.113.7", 9443) is None


def test_iproute2_from_homebrew_is_not_asked(tmp_path: Path) -> None:
    """Its ``ip`` knows only part of what Linux's does; macOS's own programs know all."""
    for name, said in {"uname": "Darwin 24.6.0 arm64", "ip": "an error", "ifconfig": "of macOS", "netstat": "of macOS"}.items():
        (tmp_path / name).write_text(f'#!/bin/sh\n[ "$*" = -s ] && echo Darwin || echo {said}\n')
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-s"], input=facts.SCRIPT, env=environment, capture_output=True, text=True, check=True)
    found = facts.said(done.stdout)
    assert found["ifconfig -a"] == found["netstat -rn"] == "of macOS"
    assert not any(heading.startswith("ip ") for heading in found)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
def test_outputs_that_were_cut_or_changed(parse: Callable[[str], object]) -> None:
    chance = random.Random(parse.__name__)
    for text in (IFCONFIG, NETSTAT, LSOF, SCUTIL, PF_RULES):
        for _ in range(60):
            parse(changed(text, chance))
