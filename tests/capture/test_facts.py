"""What machines say about themselves.

``LINUX`` is put together by hand from what the programs print on Debian 13 (iproute2 6.15, tcpdump 4.99.5, procps 4.0; addresses replaced);
``DARWIN`` from the formats that macOS's manuals of ``date``, ``netstat``, ``scutil``, ``lsof`` and ``dscacheutil`` show, and has not been seen on a Mac.
The script itself runs for real in the last test.
"""

from __future__ import annotations

import subprocess

from hypothesis import given
from hypothesis import strategies as st

from netlens.capture import facts
from netlens.capture.recording import to_toml

LINUX = """\
%%netlens uname -srm
Linux 6.12.30-amd64 x86_64
%%netlens id -u
0
%%netlens programs
/usr/bin/tcpdump
/usr/sbin/nft
%%netlens tcpdump --version
tcpdump version 4.99.5
libpcap version 1.10.5 (with TPACKET_V3)
OpenSSL 3.5.1 1 Jul 2025
64-bit build, 64-bit time_t
%%netlens sshuttle --version
1.3.2
%%netlens ip -brief address
lo               UNKNOWN        127.0.0.1/8 ::1/128
eth0@if2         UP             192.168.64.5/24 fe80::1/64
%%netlens ip route
default via 192.168.64.1 dev eth0
192.168.64.0/24 dev eth0 proto kernel scope link src 192.168.64.5
%%netlens cat /etc/resolv.conf
nameserver 192.168.64.1
%%netlens processes
311 /usr/bin/python3\0/usr/bin/sshuttle\0--method\0nft\0--dns\0-r\0me:secret@192.168.64.1:2222\0-x\x00203.0.113.9/32\0-e\0ssh -i /home/me/key\x000.0.0.0/0\0
%%netlens ss -Htunap
tcp LISTEN 0      128    127.0.0.1:12300 0.0.0.0:* users:(("sshuttle",pid=311,fd=4))
udp UNCONN 0      0      127.0.0.1:12299 0.0.0.0:* users:(("sshuttle",pid=311,fd=5))
tcp ESTAB  0      0      192.168.64.5:40000 192.168.64.1:2222 users:(("ssh",pid=312,fd=3))
tcp ESTAB  0      0      192.168.64.5:22 192.168.64.1:51234 users:(("sshd",pid=400,fd=3))
%%netlens cat /sys/devices/system/clocksource/clocksource0/current_clocksource
arch_sys_counter
%%netlens timedatectl show
Timezone=Etc/UTC
NTP=yes
NTPSynchronized=yes
%%netlens chronyc -n tracking
%%netlens addresses api.z.ai
203.0.113.9     STREAM api.z.ai
203.0.113.9     DGRAM
2001:db8::9     STREAM
"""

DARWIN = """\
%%netlens uname -srm
Darwin 24.6.0 arm64
%%netlens id -u
501
%%netlens tcpdump --version
tcpdump version tcpdump version 4.99.1 -- Apple version 148
libpcap version 1.10.1
%%netlens ifconfig -a
lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384
\tinet 127.0.0.1 netmask 0xff000000
en0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tinet 10.0.0.7 netmask 0xffffff00 broadcast 10.0.0.255
%%netlens netstat -rn
Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            10.0.0.1           UGScg                 en0
%%netlens cat /etc/resolv.conf
nameserver 10.0.0.1
%%netlens scutil --dns
DNS configuration

resolver #1
  nameserver[0] : 10.0.0.53
%%netlens processes
%%netlens lsof -nP -iTCP -iUDP -F pcPnT
p412
cssh
f3
PTCP
n10.0.0.7:51234->192.168.64.5:22
TST=ESTABLISHED
%%netlens cat /sys/devices/system/clocksource/clocksource0/current_clocksource
%%netlens sysctl -n kern.timecounter.hardware
mach_absolute_time
%%netlens addresses api.z.ai
name: api.z.ai
ip_address: 203.0.113.9
ipv6_address: 2001:db8::9
"""


def test_linux() -> None:
    found = facts.parse(facts.said(LINUX))
    assert (found.system, found.release, found.machine, found.root) == ("Linux", "6.12.30-amd64", "x86_64", True)
    assert (found.tcpdump, found.libpcap, found.sshuttle) == ("4.99.5", "1.10.5", "1.3.2")
    assert found.own_addresses() == ["192.168.64.5"]
    assert found.nameservers == ("192.168.64.1",)
    assert found.addresses == {"api.z.ai": ["203.0.113.9", "2001:db8::9"]}
    assert found.redirect_ports() == [12299, 12300]
    assert found.ssh_ports() == [2222]
    assert found.programs == {"tcpdump": "/usr/bin/tcpdump", "nft": "/usr/sbin/nft"}
    assert found.clock_source == "arch_sys_counter"
    tunnel = found.to_dict()["sshuttle_processes"][0]
    assert (tunnel["method"], tunnel["excludes"], tunnel["ports"], tunnel["dns"]) == ("nft", ["203.0.113.9/32"], [12300], True)
    assert found.to_dict()["clock"] == {
        "source": "arch_sys_counter",
        "keeper": "systemd-timesyncd",
        "synchronised": True,
        "offset_s": None,
        "bound_s": None,
    }


def test_secrets_of_command_lines_stay_out_of_the_manifest() -> None:
    text = to_toml(facts.parse(facts.said(LINUX)).to_dict())
    assert "secret" not in text
    assert "/home/me/key" not in text


def test_darwin() -> None:
    found = facts.parse(facts.said(DARWIN))
    assert (found.system, found.machine, found.root) == ("Darwin", "arm64", False)
    assert found.nameservers == ("10.0.0.53",)
    assert found.own_addresses() == ["10.0.0.7"]
    assert found.addresses == {"api.z.ai": ["203.0.113.9", "2001:db8::9"]}
    assert found.ssh_ports() == [22]
    assert (found.tcpdump, found.clock_source) == ("4.99.1", "mach_absolute_time")
    assert [(r.destination, r.gateway, r.interface) for r in found.routes] == [("default", "10.0.0.1", "en0")]


def test_times() -> None:
    assert facts.parse_time("1795569626.000000001\n") == 1795569626_000000001
    assert facts.parse_time("1795569626.N\n") == 1795569626_000000000
    assert facts.parse_time("date: illegal option") is None


@given(st.text() | st.lists(st.sampled_from(LINUX.splitlines() + DARWIN.splitlines())).map("\n".join))
def test_no_text_crashes_it(text: str) -> None:
    to_toml(facts.parse(facts.said(text)).to_dict())


def test_the_script_runs_here() -> None:
    done = subprocess.run(
        ["sh", "-s", "--", "localhost", "no.such.name.invalid"], input=facts.SCRIPT, capture_output=True, text=True, check=False
    )
    found = facts.parse(facts.said(done.stdout))
    assert found.system
    assert "127.0.0.1" in found.addresses["localhost"] or "::1" in found.addresses["localhost"]
    assert found.addresses["no.such.name.invalid"] == []
    assert all(path.endswith(f"/{name}") for name, path in found.programs.items())
    assert found.tunnels == [] or all(t.pid > 0 for t in found.tunnels)
    assert done.stderr == ""
