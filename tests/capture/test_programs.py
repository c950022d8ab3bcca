"""Parsers of what system programs print.

Provenance of the samples. *Recorded*: printed by the real program on Debian 13 in network namespaces with a real sshd and sshuttle 1.3.2 and
2.0.0 (their nft, nat and tproxy rules are alike): ss (iproute2 6.15), lsof 4.99, nft 1.1.3, iptables-save 1.8.11, ip, netstat, ps, chronyc,
getent. *Documented*: written after the named description, because the program runs on macOS only or the state is hard to bring about; said at
each sample.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.capture.programs import clocks, iptables, network, nft, pf, rules, sockets, sshuttle
from netlens.capture.programs.network import Interface, Route
from netlens.capture.programs.sockets import Socket

# --- sockets: recorded --------------------------------------------------------------------------------------------------------------------

SS = """\
Netid State      Recv-Q Send-Q Local Address:Port  Peer Address:Port Process
udp   UNCONN     0      0          127.0.0.1:12299      0.0.0.0:*     users:(("sshuttle",pid=20892,fd=9))
tcp   LISTEN     0      10         127.0.0.1:12300      0.0.0.0:*     users:(("sshuttle",pid=20892,fd=7))
tcp   TIME-WAIT  0      0       192.168.64.2:43710  203.0.113.7:443
tcp   ESTAB      0      0       192.168.64.2:43728  203.0.113.7:443   users:(("python3",pid=21108,fd=3))
tcp   ESTAB      0      0          127.0.0.1:12300 192.168.64.2:43728 users:(("sshuttle",pid=20892,fd=11))
tcp   LISTEN     0      128             [::]:22            [::]:*     users:(("sshd",pid=20558,fd=7))
tcp   FIN-WAIT-2 0      0       [fd00:64::2]:38258 [fd00:64::1]:443
"""

SOCKETS = [
    Socket("127.0.0.1", 12299, None, None, "UNCONNECTED", "sshuttle", 20892, "udp"),
    Socket("127.0.0.1", 12300, None, None, "LISTEN", "sshuttle", 20892),
    Socket("192.168.64.2", 43710, "203.0.113.7", 443, "TIME_WAIT", None, None),
    Socket("192.168.64.2", 43728, "203.0.113.7", 443, "ESTABLISHED", "python3", 21108),
    Socket("127.0.0.1", 12300, "192.168.64.2", 43728, "ESTABLISHED", "sshuttle", 20892),
    Socket("::", 22, None, None, "LISTEN", "sshd", 20558),
    Socket("fd00:64::2", 38258, "fd00:64::1", 443, "FIN_WAIT_2", None, None),
]


def test_ss() -> None:
    assert sockets.parse_ss(SS) == SOCKETS


def test_ss_without_heading_and_columns() -> None:
    no_heading = "\n".join(SS.splitlines()[1:])
    assert sockets.parse_ss(no_heading) == SOCKETS
    tcp_only = "\n".join(line[6:] for line in no_heading.splitlines() if line.startswith("tcp"))  # ss -Htanp
    assert sockets.parse_ss(tcp_only) == SOCKETS[1:]
    # ss -Htnp state established (ss(8)): the column of the state is left out too
    assert sockets.parse_ss('0 0 192.168.64.2:43728 203.0.113.7:443 users:(("python3",pid=21108,fd=3))') == SOCKETS[3:4]


@pytest.mark.parametrize(
    ("line", "local_ip", "remote_ip", "process"),
    [
        ("tcp ESTAB 0 0 [::ffff:192.0.2.1]:50000 [::ffff:192.0.2.2]:443", "192.0.2.1", "192.0.2.2", None),  # IPv4 in an IPv6 socket
        ("udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*", "127.0.0.53", None, None),
        ("tcp LISTEN 0 128 *:22 *:*", "*", None, None),
        ('tcp ESTAB 0 0 [fe80::1%eth0]:1 [fe80::2%eth0]:2 users:(("a b",pid=7,fd=1),("c",pid=8,fd=1))', "fe80::1", "fe80::2", "a b"),
        ('tcp ESTAB 0 0 192.0.2.1:1 192.0.2.2:2 users:(("x",y",pid=7,fd=1))', "192.0.2.1", "192.0.2.2", 'x",y'),
    ],
)
def test_ss_addresses_and_names(line: str, local_ip: str, remote_ip: str | None, process: str | None) -> None:
    (socket,) = sockets.parse_ss(line)
    assert (socket.local_ip, socket.remote_ip, socket.process) == (local_ip, remote_ip, process)


def test_ss_leaves_out_what_is_no_socket_of_the_internet() -> None:
    assert sockets.parse_ss("u_str ESTAB 0 0 * 1234 * 1235\nnl UNCONN 0 0 rtnl:ss/1 *\ntcp ESTAB x 0 a b\n") == []


LSOF_FIELDS = """\
p20558
csshd
f7
PTCP
n*:22
TST=LISTEN
TQR=0
TQS=0
p20892
csshuttle
f9
PUDP
n127.0.0.1:12299
TQR=0
TQS=0
f11
PTCP
n127.0.0.1:12300->192.168.64.2:43728
TST=ESTABLISHED
TQR=0
TQS=0
p21108
cpython3
f5
PTCP
n[fd00:64::2]:38274->[fd00:64::1]:443
TST=ESTABLISHED
TQR=0
TQS=0
"""


@pytest.mark.parametrize("text", [LSOF_FIELDS, LSOF_FIELDS.replace("f11\n", "")], ids=["with f", "without f"])
def test_lsof(text: str) -> None:
    assert sockets.parse_lsof(text) == [
        Socket("*", 22, None, None, "LISTEN", "sshd", 20558),
        Socket("127.0.0.1", 12299, None, None, "UNCONNECTED", "sshuttle", 20892, "udp"),
        Socket("127.0.0.1", 12300, "192.168.64.2", 43728, "ESTABLISHED", "sshuttle", 20892),
        Socket("fd00:64::2", 38274, "fd00:64::1", 443, "ESTABLISHED", "python3", 21108),
    ]


def test_lsof_of_macos() -> None:
    r"""Documented: lsof(8) of macOS, where a blank of a command's name is ``\x20`` and states are BSD's."""
    text = (
        "p641\nc" + r"Google\x20C" + "\nf24\nPTCP\nn192.168.101.89:52110->203.0.113.7:443\nTST=FIN_WAIT_2\n"
        "p512\ncrapportd\nf8\nPUDP\nn*:*\n"
    )
    assert sockets.parse_lsof(text) == [Socket("192.168.101.89", 52110, "203.0.113.7", 443, "FIN_WAIT_2", "Google C", 641)]


# --- redirects ----------------------------------------------------------------------------------------------------------------------------

NFT = """\
table inet sshuttle-ipv6-12300 {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		jump sshuttle-ipv6-12300
	}

	chain sshuttle-ipv6-12300 {
		meta nfproto != ipv6 return
		fib daddr type local return
		meta l4proto tcp ip6 daddr ::1 return
	}
}
table inet sshuttle-ipv4-12300 {
	chain output {
		type nat hook output priority dstnat; policy accept;
		jump sshuttle-ipv4-12300
	}

	chain sshuttle-ipv4-12300 {
		meta nfproto != ipv4 return
		ip daddr 192.168.64.1 udp dport 53 redirect to :12299
		fib daddr type local return
		tcp dport 443 ip daddr 203.0.113.9 return
		tcp dport 8000-8080 ip daddr 203.0.113.10 return
		meta l4proto tcp ip daddr 192.168.64.1 return
		meta l4proto tcp ip daddr 127.0.0.1 return
		meta l4proto tcp ip daddr 192.168.64.0/24 return
		meta l4proto tcp ip daddr 0.0.0.0/0 redirect to :12300
	}
}
"""
# what sshuttle's method nat looks like to nft
NFT_OF_IPTABLES = """\
# Warning: table ip nat is managed by iptables-nft, do not touch!
table ip nat {
	chain sshuttle-12300 {
		ip daddr 192.168.64.1 udp dport 53 counter packets 0 bytes 0 redirect to :12299
		ip daddr 203.0.113.9 tcp dport 443 counter packets 0 bytes 0 return
		ip daddr 203.0.113.10 tcp dport 8000-8080 counter packets 0 bytes 0 return
		ip daddr 192.168.64.1 ip protocol tcp counter packets 1 bytes 136 return
		ip daddr 127.0.0.1 ip protocol tcp counter packets 0 bytes 0 return
		ip daddr 192.168.64.0/24 ip protocol tcp counter packets 0 bytes 0 return
		ip protocol tcp counter packets 2 bytes 120 redirect to :12300
		fib daddr type local counter packets 0 bytes 0 return
	}
}
"""
IPTABLES = """\
# Generated by iptables-save v1.8.11 (nf_tables) on Wed Nov 25 01:22:54 2026
*nat
:PREROUTING ACCEPT [0:0]
:sshuttle-12300 - [0:0]
-A PREROUTING -j sshuttle-12300
-A OUTPUT -j sshuttle-12300
-A sshuttle-12300 -d 192.168.64.1/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 12299
-A sshuttle-12300 -d 203.0.113.9/32 -p tcp -m tcp --dport 443 -j RETURN
-A sshuttle-12300 -d 203.0.113.10/32 -p tcp -m tcp --dport 8000:8080 -j RETURN
-A sshuttle-12300 -d 192.168.64.1/32 -p tcp -j RETURN
-A sshuttle-12300 -d 127.0.0.1/32 -p tcp -j RETURN
-A sshuttle-12300 -d 192.168.64.0/24 -p tcp -j RETURN
-A sshuttle-12300 -p tcp -j REDIRECT --to-ports 12300
-A sshuttle-12300 -m addrtype --dst-type LOCAL -j RETURN
COMMIT
# Completed on Wed Nov 25 01:22:54 2026
"""
TPROXY = """\
# Generated by iptables-save v1.8.11 (nf_tables) on Wed Nov 25 01:22:49 2026
*mangle
:sshuttle-t-12300 - [0:0]
-A PREROUTING -j sshuttle-t-12300
-A sshuttle-t-12300 -d 192.168.64.1/32 -p udp -m udp --dport 53 -j TPROXY --on-port 12299 --on-ip 0.0.0.0 --tproxy-mark 0x1/0xffffffff
-A sshuttle-t-12300 -m addrtype --dst-type LOCAL -j RETURN
-A sshuttle-t-12300 -p tcp -m socket -m tcp -j sshuttle-d-12300
-A sshuttle-t-12300 -d 203.0.113.9/32 -p tcp -m tcp --dport 443 -j RETURN
-A sshuttle-t-12300 -d 203.0.113.10/32 -p tcp -m tcp --dport 8000:8080 -j RETURN
-A sshuttle-t-12300 -d 192.168.64.0/24 -p tcp -m tcp -j RETURN
-A sshuttle-t-12300 -p tcp -m tcp -j TPROXY --on-port 12300 --on-ip 0.0.0.0 --tproxy-mark 0x1/0xffffffff
COMMIT
"""
# Documented: the rules sshuttle hands to pfctl (methods/pf.py), in the form pfctl prints them in (pf.conf(5), macOS): an address of all
# zeros is "any", "keep state" brings "flags S/SA".
PF_RDR = """\
rdr pass on lo0 inet proto tcp from ! 127.0.0.1 to any -> 127.0.0.1 port 12300
rdr pass on lo0 inet proto udp from any to <dns_servers> port = 53 -> 127.0.0.1 port 12299
"""
PF_FILTER = """\
pass out route-to lo0 inet proto tcp from any to any flags S/SA keep state
pass out inet proto tcp from any to 192.168.64.0/24 flags S/SA keep state
pass out inet proto tcp from any to 203.0.113.10 port 8000:8080 flags S/SA keep state
pass out inet proto tcp from any to 203.0.113.9 port = https flags S/SA keep state
pass out route-to lo0 inet proto udp from any to <dns_servers> port = domain keep state
"""


def redirects(found: list[rules.Rule]) -> list[tuple[str | None, str, int | None, str]]:
    """Protocol, destination, port and table of the rules that redirect."""
    return [(r.protocol, ", ".join(map(str, r.networks)), r.to_port, r.table) for r in found if r.redirects]


@pytest.mark.parametrize(
    ("found", "table", "everything"),
    [
        (nft.parse_nft_rules(NFT), "inet sshuttle-ipv4-12300", "0.0.0.0/0"),
        (nft.parse_nft_rules(NFT_OF_IPTABLES), "ip nat sshuttle-12300", ""),
        (iptables.parse_iptables_rules(IPTABLES), "nat sshuttle-12300", ""),
        (iptables.parse_iptables_rules(TPROXY), "mangle sshuttle-t-12300", ""),
    ],
    ids=["nft", "nft of iptables", "iptables", "tproxy"],
)
def test_redirects(found: list[rules.Rule], table: str, everything: str) -> None:
    assert redirects(found) == [("udp", "192.168.64.1/32", 12299, table), ("tcp", everything, 12300, table)]


def test_redirects_of_pf() -> None:
    assert redirects(pf.parse_pf_rules(PF_RDR, "sshuttle-12300")) == [
        ("tcp", "", 12300, "sshuttle-12300 rdr"),
        ("udp", "", 12299, "sshuttle-12300 rdr"),
    ]


RULES = {
    "nft": nft.parse_nft_rules(NFT),
    "nft of iptables": nft.parse_nft_rules(NFT_OF_IPTABLES),
    "iptables": iptables.parse_iptables_rules(IPTABLES),
    "tproxy": iptables.parse_iptables_rules(TPROXY),
    "pf": pf.parse_pf_rules(PF_FILTER, "sshuttle-12300"),
}


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize(
    ("ip", "port", "tunnelled"),
    [
        ("203.0.113.7", 443, True),
        ("203.0.113.9", 443, False),  # -x 203.0.113.9:443
        ("203.0.113.9", 80, True),
        ("203.0.113.10", 8080, False),  # -x 203.0.113.10:8000-8080
        ("203.0.113.10", 8081, True),
        ("192.168.64.77", 22, False),
        ("2001:db8::1", 443, False),
    ],
)
def test_whether_a_connection_is_redirected(kind: str, ip: str, port: int, tunnelled: bool) -> None:
    assert (rules.redirected(RULES[kind], ip, port) is not None) is tunnelled


def test_quick_rules_of_pf_make_excludes_dead() -> None:
    """Documented: as above with the ``quick`` that sshuttle 2.0.0 adds; the first rule that matches then decides."""
    quick = pf.parse_pf_rules(PF_FILTER.replace("pass out", "pass out quick"), "sshuttle-12300")
    assert rules.redirected(quick, "203.0.113.9", 443) is not None


def test_rules_for_some_are_not_rules_for_all() -> None:
    """Documented: nft(8), iptables-extensions(8): owner, mark and interface conditions; sets; a dnat to another machine."""
    text = """\
table ip t {
	chain c {
		meta skuid 1000 tcp dport 443 redirect to :8080
		ip daddr != 192.0.2.1 tcp dport 443 redirect to :8081
		tcp dport { 80, 8080 } ip daddr { 192.0.2.0/24, 198.51.100.7 } redirect to :8082
		tcp dport 25 dnat to 198.51.100.1:25
		tcp dport 26 dnat to 127.0.0.1:2626
		tcp dport 27 comment "redirect to :1"
	}
}
"""
    found = nft.parse_nft_rules(text)
    assert [(rule.to_port, bool(rule.conditions)) for rule in found] == [(8080, True), (8081, True), (8082, False), (2626, False)]
    assert rules.redirected(found, "192.0.2.9", 443) is None
    assert rules.redirected(found, "192.0.2.9", 8080) is found[2]
    assert rules.redirected(found, "198.51.100.8", 80) is None
    owner = "*nat\n[7:420] -A OUTPUT -p tcp -m owner --uid-owner 1000 -m multiport --dports 80,443 -j REDIRECT --to-ports 8080\n"
    (rule,) = iptables.parse_iptables_rules(owner)
    assert (rule.ports, rule.to_port, bool(rule.conditions)) == (((80, 80), (443, 443)), 8080, True)


def test_anchors_of_pf() -> None:
    """Documented: pfctl(8), ``-s Anchors -v``: one name a line, indented."""
    assert pf.parse_pf_anchors("  com.apple\n  com.apple/250.ApplicationFirewall\n  sshuttle-12300\n") == [
        "com.apple",
        "com.apple/250.ApplicationFirewall",
        "sshuttle-12300",
    ]


# --- sshuttle -----------------------------------------------------------------------------------------------------------------------------

PS = """\
20556 sshd: /usr/sbin/sshd -f /dev/null -h /etc/ssh/hk -p 22 [listener] 0 of 10-100 startups
21526 /opt/tunnel/bin/python3 /opt/tunnel/bin/sshuttle --method nft --dns -e ssh -i /root/key -o UserKnownHostsFile=/root/kh -r root@192.168.64.1 \
0.0.0.0/0 -x 192.168.64.1/32 -x 192.168.64.0/24 -x 203.0.113.9:443
21530 /opt/tunnel/bin/python3 /opt/tunnel/bin/sshuttle --method nft --firewall
21532 /usr/bin/ssh -i /root/key root@192.168.64.1 -- /bin/sh -c 'P=python3; exec "$P" -c '"'"'import sys'"'"
21560 grep -E sshuttle --method nft -r root@192.168.64.1
21561 vi sshuttle
"""


def test_sshuttle_processes() -> None:
    (process,) = sshuttle.parse_sshuttle_processes(PS)
    assert process == sshuttle.SshuttleProcess(
        21526,
        "nft",
        (),
        "root@192.168.64.1",
        ("192.168.64.1/32", "192.168.64.0/24", "203.0.113.9:443"),
        True,
        ("0.0.0.0/0",),
        program="/opt/tunnel/bin/sshuttle",
        python="/opt/tunnel/bin/python3",
    )


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["sshuttle", "-r", "dev:hunter2@gate:2222", "0/0"], "remote", "dev@gate:2222"),
        (["sshuttle", "-r", "hunter2 oops", "0/0"], "remote", None),
        (["sshuttle", "-vvrgate", "--meth=nat", "0/0"], "remote", "gate"),
        (["sshuttle", "-vvrgate", "--meth=nat", "0/0"], "method", "nat"),
        (["python3.12", "-m", "sshuttle", "-l", "0.0.0.0:12345,[::]:12346", "-N"], "listen_ports", (12345, 12346)),
        (
            ["python3", "-X", "dev", "/usr/bin/sshuttle", "-xapi.z.ai:443", "--exclude=open.bigmodel.cn"],
            "excludes",
            ("api.z.ai:443", "open.bigmodel.cn"),
        ),
        (["sshuttle", "-X", "/etc/excludes", "0/0"], "excludes_elsewhere", True),
        (["sshuttle", "@/etc/sshuttle.conf"], "excludes_elsewhere", True),
        (["sshuttle", "-e", "sshpass -p hunter2 ssh", "-H", "0/0", "api.z.ai"], "subnets", ("0/0", "api.z.ai")),
        (["sshuttle", "-H", "0/0"], "auto_hosts", True),
    ],
)
def test_options_of_sshuttle(argv: list[str], field: str, value: object) -> None:
    (process,) = sshuttle.parse_sshuttle_processes("7 " + "\0".join(argv) + "\0")
    assert getattr(process, field) == value
    assert "hunter2" not in repr(process)


def test_a_command_line_without_quotes_gives_no_secret_away() -> None:
    line = "7 /usr/bin/python3 /usr/bin/sshuttle -e sshpass -p hunter2 ssh -x -i key hunter2 -r a:hunter2@192.0.2.1 0/0 --ssh-cmd=hunter2 hunter2"
    (process,) = sshuttle.parse_sshuttle_processes(line)
    assert "hunter2" not in repr(process)
    assert process.remote == "a@192.0.2.1"


@pytest.mark.parametrize(
    "argv", [["python3", "-c", "sshuttle"], ["bash", "sshuttle"], ["sshuttle", "--version"], ["sshuttle", "--hostwatch"], [""]]
)
def test_what_is_no_tunnel(argv: list[str]) -> None:
    assert sshuttle.parse_sshuttle_processes("7 " + "\0".join(argv) + "\0") == []


@pytest.mark.parametrize(
    ("text", "host", "width", "ports"),
    [
        ("192.0.2.0/24", "192.0.2.0", 24, None),
        ("api.z.ai:443", "api.z.ai", None, (443, 443)),
        ("192.0.2.1:8000-8080", "192.0.2.1", None, (8000, 8080)),
        ("[2001:db8::1/64]:443", "2001:db8::1", 64, (443, 443)),
        ("2001:db8::/32", "2001:db8::", 32, None),
    ],
)
def test_subnets(text: str, host: str, width: int | None, ports: tuple[int, int] | None) -> None:
    subnet = sshuttle.parse_subnet(text)
    assert subnet is not None
    assert (subnet.host, subnet.width, subnet.ports) == (host, width, ports)


def test_what_a_subnet_covers() -> None:
    subnet = sshuttle.parse_subnet("192.0.2.0/24:443")
    assert subnet is not None
    assert subnet.covers("192.0.2.9", 443)
    assert not subnet.covers("192.0.2.9", 80)
    assert not subnet.covers("2001:db8::1", 443)
    name = sshuttle.parse_subnet("api.z.ai")
    assert name is not None
    assert name.is_name
    assert not name.covers("192.0.2.9", 443)
    assert sshuttle.parse_subnet("192.0.2.0/33") is None
    assert sshuttle.parse_subnet("a b") is None


def test_version_from_paths() -> None:
    """Recorded for pip; documented for Homebrew and Debian: where their packages put the same folder."""
    assert sshuttle.parse_python_metadata("/opt/tunnel/lib/python3.11/site-packages/sshuttle-2.0.0.dist-info\n") == "2.0.0"
    assert sshuttle.parse_python_metadata("/usr/lib/python3/dist-packages/sshuttle-1.1.2-py3.11.egg-info\n") == "1.1.2"
    assert sshuttle.parse_python_metadata("") is None


# --- name servers, routes, interfaces -------------------------------------------------------------------------------------------------------


def test_resolv_conf() -> None:
    text = "# made by hand\nnameserver 192.168.64.1\nnameserver fe80::1%eth0 ; note\nnameserver nonsense\nsearch lan example.net\noptions edns0\n"
    assert network.parse_resolv_conf(text) == ("192.168.64.1", "fe80::1%eth0")


def test_scutil_dns() -> None:
    """Documented: the form ``scutil --dns`` prints on macOS 12 and later."""
    text = """\
DNS configuration

resolver #1
  search domain[0] : lan
  nameserver[0] : 192.168.101.1
  nameserver[1] : 2001:db8::53
  if_index : 14 (en0)
  flags    : Request A records
  reach    : 0x00020002 (Reachable,Directly Reachable Address)

resolver #2
  domain   : local
  options  : mdns
  timeout  : 5

resolver #3
  domain   : corp.example
  nameserver[0] : 10.0.0.53

DNS configuration (for scoped queries)

resolver #1
  nameserver[0] : 192.168.101.9
  if_index : 14 (en0)
"""
    assert network.parse_scutil_dns(text) == ("192.168.101.1", "2001:db8::53")


def test_routes_of_ip() -> None:
    text = """\
default via 192.168.64.1 dev ndv1
192.168.64.0/24 dev ndv1 proto kernel scope link src 192.168.64.2
unreachable 198.51.100.0/24 metric 1024
fd00:64::/64 dev ndv1 proto kernel metric 256 pref medium
default via inet6 fe80::1 dev wlan0
"""
    assert network.parse_routes(text) == [
        Route("default", "192.168.64.1", "ndv1"),
        Route("192.168.64.0/24", None, "ndv1"),
        Route("198.51.100.0/24", None, None),
        Route("fd00:64::/64", None, "ndv1"),
        Route("default", "fe80::1", "wlan0"),
    ]


def test_routes_of_netstat() -> None:
    text = """\
Kernel IP routing table
Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface
0.0.0.0         192.168.64.1    0.0.0.0         UG        0 0          0 ndv1
192.168.64.0    0.0.0.0         255.255.255.0   U         0 0          0 ndv1
"""
    assert network.parse_routes(text) == [Route("default", "192.168.64.1", "ndv1"), Route("192.168.64.0/24", None, "ndv1")]


def test_routes_of_netstat_on_macos() -> None:
    """Documented: netstat(1) of macOS; networks are abbreviated, Expire may be empty, a neighbour's gateway is a link number."""
    text = """\
Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            192.168.101.1      UGScg                 en0
0/1                10.8.0.1           UGScg               utun4
192.168.64         link#22            UC              bridge100      !

Internet6:
Destination                             Gateway                         Flags               Netif Expire
default                                 fe80::1%en0                     UGcg                  en0
"""
    assert network.parse_routes(text) == [
        Route("default", "192.168.101.1", "en0"),
        Route("0/1", "10.8.0.1", "utun4"),
        Route("192.168.64", None, "bridge100"),
        Route("default", "fe80::1%en0", "en0"),
    ]


def test_interfaces() -> None:
    text = """\
lo               UNKNOWN        127.0.0.1/8 ::1/128
ndv1@if8         UP             192.168.64.2/24 fd00:64::2/64 fe80::2008:16ff:fe89:2465/64
eth9             DOWN
"""
    assert network.parse_ip_addresses(text) == [
        Interface("lo", ("127.0.0.1", "::1"), True),
        Interface("ndv1", ("192.168.64.2", "fd00:64::2", "fe80::2008:16ff:fe89:2465"), True),
        Interface("eth9", (), False),
    ]


def test_interfaces_of_macos() -> None:
    """Documented: ifconfig(8) of macOS."""
    text = """\
lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384
	options=1203<RXCSUM,TXCSUM,TXSTATUS,SW_TIMESTAMP>
	inet 127.0.0.1 netmask 0xff000000
	inet6 fe80::1%lo0 prefixlen 64 scopeid 0x1
bridge100: flags=8a63<UP,BROADCAST,SMART,RUNNING,ALLMULTI,SIMPLEX,MULTICAST> mtu 1500
	inet 192.168.64.1 netmask 0xffffff00 broadcast 192.168.64.255
en5: flags=8822<BROADCAST,SMART,SIMPLEX,MULTICAST> mtu 1500
"""
    assert network.parse_ifconfig(text) == [
        Interface("lo0", ("127.0.0.1", "fe80::1"), True),
        Interface("bridge100", ("192.168.64.1",), True),
        Interface("en5", (), False),
    ]


def test_names() -> None:
    recorded = "203.0.113.7     STREAM api.z.ai\n203.0.113.7     DGRAM\n203.0.113.7     RAW\n2001:db8::7     STREAM\n"
    assert network.parse_addresses(recorded) == ["203.0.113.7", "2001:db8::7"]
    # documented: dscacheutil(1) of macOS
    assert network.parse_addresses("name: api.z.ai\nipv6_address: 2001:db8::7\n\nname: api.z.ai\nip_address: 203.0.113.7\n") == [
        "2001:db8::7",
        "203.0.113.7",
    ]
    # host(1) of BIND, and getent ahosts with an address carried in IPv6
    assert network.parse_addresses("api.z.ai has address 203.0.113.9\napi.z.ai has IPv6 address 2001:db8::9\n") == [
        "203.0.113.9",
        "2001:db8::9",
    ]
    assert network.parse_addresses("::ffff:203.0.113.9 STREAM x\nfe80::1%eth0 DGRAM\n") == ["203.0.113.9", "fe80::1"]
    assert network.parse_addresses("Host api.z.ai not found: 3(NXDOMAIN)\n\n") == []


def test_marks_with_a_table_of_their_own() -> None:
    assert network.parse_fwmark_rules("0:\tfrom all lookup local\n32766:\tfrom all lookup main\n") == []
    # documented: ip-rule(8), and sshuttle's manual on tproxy
    assert network.parse_fwmark_rules("32765:\tfrom all fwmark 0x1 lookup 100\n") == [1]
    assert network.parse_fwmark_rules("32765:\tfrom all fwmark 0x1/0x1 lookup tunnel\n") == [1]


# --- clocks -------------------------------------------------------------------------------------------------------------------------------


def test_chronyc() -> None:
    """Recorded, with figures of chronyc(1)'s example in place of the zeros of a clock without a source."""
    text = """\
Reference ID    : CB00710F (foo.example.net)
Stratum         : 3
Ref time (UTC)  : Fri Jan 27 09:49:17 2017
System time     : 0.000006523 seconds slow of NTP time
Root delay      : 0.009446981 seconds
Root dispersion : 0.000485731 seconds
Leap status     : Normal
"""
    state = clocks.parse_chronyc(text)
    assert state is not None
    assert (state.synchronised, state.offset_s) == (True, -0.000006523)
    assert state.bound_s == pytest.approx(0.009446981 / 2 + 0.000485731)
    lost = clocks.parse_chronyc(text.replace("Normal", "Not synchronised"))
    assert lost is not None
    assert (lost.synchronised, lost.offset_s) == (False, None)
    assert clocks.parse_chronyc("506 Cannot talk to daemon\n") is None


def test_other_clocks() -> None:
    """Documented: timedatectl(1) and systemsetup(8) of macOS."""
    state = clocks.parse_timedatectl("Timezone=UTC\nLocalRTC=no\nCanNTP=yes\nNTP=yes\nNTPSynchronized=yes\nTimeUSec=Wed 2026-11-25\n")
    assert state == clocks.ClockState("systemd-timesyncd", True)
    state = clocks.parse_timedatectl("NTP=no\nNTPSynchronized=no\n")
    assert state == clocks.ClockState("timedatectl", False)
    assert clocks.parse_timedatectl("System has not been booted with systemd as init system (PID 1). Can't operate.\n") is None
    assert clocks.parse_systemsetup("Network Time: On\n") == clocks.ClockState("timed", True)
    assert clocks.parse_systemsetup("You need administrator access to run this tool... exiting!\n") is None


# --- any text -----------------------------------------------------------------------------------------------------------------------------

MODULES = (clocks, iptables, network, nft, pf, sockets, sshuttle)
PARSERS = [value for module in MODULES for name, value in vars(module).items() if name.startswith("parse_")]
WORDS = sorted({word for text in (SS, LSOF_FIELDS, NFT, IPTABLES, TPROXY, PF_RDR, PF_FILTER, PS) for word in text.split()})


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(text=st.text() | st.lists(st.sampled_from([*WORDS, "\n", "\n", "{", "}"]), max_size=40).map(" ".join))
def test_no_text_is_refused(parse: object, text: str) -> None:
    assert callable(parse)
    parse(text)


#: All real outputs above, by the name of their constant.
SAMPLES = {name: value for name, value in globals().items() if name.isupper() and isinstance(value, str)}


ODD = ("", "²", "-1", "9" * 30, "{", "}", "\0", "\x1b[2J", "\u2028", "::", "%", "0/0", "to")


def changed(text: str, chance: random.Random) -> str:
    """What a connection that broke, another version or a hostile VM makes of a text."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        unit = chance.choice(("", " ", "\n"))
        parts = text.split(unit) if unit else list(text)
        at = chance.randrange(len(parts) + 1)
        parts = chance.choice((
            lambda parts, at: parts[at:],
            lambda parts, at: parts[:at],
            lambda parts, at: parts[:at] + parts[at + 1 :],
            lambda parts, at: parts[:at] + parts[at : at + 3] * 2 + parts[at + 3 :],
            lambda parts, at: [*parts[:at], chance.choice((*ODD, *WORDS)), *parts[at:]],
        ))(parts, at)  # fmt: skip
        text = unit.join(parts)
    return text


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
def test_real_outputs_that_were_cut_or_changed(parse: Callable[[str], object]) -> None:
    """A ruleset that began with a chain, its table cut off, was a traceback."""
    chance = random.Random(parse.__name__)
    for text in SAMPLES.values():
        for number in range(text.count("\n")):
            parse("".join(text.splitlines(keepends=True)[number:]))
        for _ in range(60):
            parse(changed(text, chance))


def test_rules_of_a_chain_whose_table_is_not_shown_are_left_out() -> None:
    rule = "meta l4proto tcp ip daddr 0.0.0.0/0 redirect to :12300"
    assert nft.parse_nft_rules(f"chain c {{\n{rule}\n}}\n}}\n") == []
    cut = f"chain c {{\n{rule}\n}}\n}}\ntable ip t {{\nset s {{\nelements = {{ 1.2.3.4 }}\n}}\nchain c {{\n{rule}\n}}\n}}\n"
    assert [each.table for each in nft.parse_nft_rules(cut)] == ["ip t c"]


@given(ip=st.ip_addresses(), port=st.integers(0, 65535), words=st.lists(st.sampled_from([*WORDS, "\n"]), max_size=60).map(" ".join))
def test_any_rules_answer(ip: ipaddress.IPv4Address, port: int, words: str) -> None:
    for parse in (nft.parse_nft_rules, iptables.parse_iptables_rules, pf.parse_pf_rules):
        rules.redirected(parse(words), str(ip), port)


@pytest.mark.parametrize(
    "text",
    [
        'tcp ESTAB 0 0 192.0.2.1:1 192.0.2.2:2 users:(("x",pid=' + "9" * 5000,
        "tcp ESTAB 0 0 192.0.2.1:² 192.0.2.2:2",
        "x ² u 1u IPv4 1 0t0 TCP 127.0.0.1:1 (LISTEN)",
        "from all fwmark 007 lookup 1",
        "-A ",
        "System time : 1.2.3 seconds fast of NTP time\nRoot delay : . seconds",
        "²² sshuttle -l ²",
        "9" * 5000 + " sshuttle -x 1.2.3.4:" + "9" * 5000 + " -l " + "9" * 5000,
        "table ip t {\nchain c {\ntcp dport " + "9" * 5000 + " redirect to :" + "9" * 5000,
        "-A X -p tcp --dport ² -j REDIRECT --to-ports " + "9" * 5000,
        "-A X -m comment --comment 'open",
        "rdr on lo0 to any port = -> 127.0.0.1 port " + "9" * 5000,
    ],
)
def test_numbers_that_are_none(text: str) -> None:
    for parse in PARSERS:
        parse(text)
