"""Options in, argument lists and filters out. Pure: starts nothing, asks nothing.

**The filter.** The usual ones (``host API`` in the VM, ``src net VM`` on the host) miss what matters once sshuttle is on: in the VM the requests
go to 127.0.0.1 and a redirect port, and all that leaves is the SSH connection. So :func:`capture_filter` asks for the API's addresses, the redirect
ports on loopback, SSH, and DNS. It names addresses, not names: tcpdump would look names up itself, once, and not say what it found.

**How tcpdump is run.** ``sh -c WATCH netlens tcpdump ... -w -``: a small shell stands beside it and takes orders from its standard input ("stats",
"stop"; end of input means stop). Signals would not do: behind sudo or ssh they do not arrive, and a tcpdump whose netlens was killed would run on.
The capture comes out of standard output, so tcpdump needs no right to write anywhere and nothing is left on a VM.

Never ``--immediate-mode``: it loses packets at a few hundred a second. ``-B`` is large for the same reason. ``-U`` so that what is captured is ours at
once and a tcpdump that dies takes nothing with it. On Linux a tcpdump that was started by root gives root's rights up (``-Z tcpdump``) once its socket
is open, where there is a user of that name, as Debian and Fedora do by default: the output is a pipe that is open by then, so it costs nothing. Where
sudo allows tcpdump alone, the distribution's default holds.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netlens.errors import CaptureError

#: Whole packets. A ClientHello needs about 2 kB, but TLS records (from which requests are told) begin anywhere in the 64 kB segments that
#: offloading shows to a capture, and decryption with a key log needs every byte. The filter keeps the volume small, not the snaplen.
SNAPLEN = 262144
#: ``--headers-only``: cooked header 20, IPv6 40, TCP with all options 60, and some room for VLAN tags and extension headers.
SNAPLEN_HEADERS = 160
HEADERS_ONLY_WARNING = (
    "headers only: names and ClientHellos, DNS answers, and requests inside a connection cannot be seen; "
    "pairing through a tunnel, the causes dns, keep-alive and own-concurrency, and any decryption stay undecidable"
)
#: KiB of kernel buffer. tcpdump's 2 MiB lost up to 2.5 % at a few hundred packets per second; 64 MiB lost none.
BUFFER_KIB = 65536
#: sshuttle takes the first free ports from 12300 downwards for TCP, then DNS. A range, as another sshuttle may hold the first ones.
REDIRECT_PORTS = (12290, 12300)
SSH_PORTS = (22,)
API_PORT = 443  #: what is recorded when no API is named

#: Runs "$@" and obeys its own standard input. $! of a subshell, not signals of ours: see above. dash, bash, zsh and busybox run it.
WATCH = """\
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/bin
command -v "$1" >/dev/null 2>&1 || { echo "netlens: no program $1" >&2; exit 127; }
case $(uname -s) in Linux) info=USR1;; *) info=INFO;; esac
if [ "$1 $info $(id -u)" = "tcpdump USR1 0" ] && id tcpdump >/dev/null 2>&1; then shift; set -- tcpdump -Z tcpdump "$@"; fi
exec 3<&0 </dev/null
"$@" 3<&- & p=$!
echo "netlens: pid $p" >&2
{ while read -r order; do case $order in stats) kill -$info $p;; *) break;; esac; done; kill -TERM $p; } <&3 >/dev/null 2>&1 & w=$!
exec 3<&-
wait $p; status=$?
kill $w 2>/dev/null
exit $status
"""


@dataclass(frozen=True)
class SshConnection:
    """One SSH connection by its ends; ``SSH_CONNECTION`` of the far side says them."""

    client: str
    client_port: int
    server: str
    server_port: int


def watched(argv: Sequence[str]) -> list[str]:
    """``argv`` under the shell that obeys its standard input."""
    return ["sh", "-c", WATCH, "netlens", *argv]


def tcpdump(interface: str = "any", bpf: str = "", snaplen: int = SNAPLEN) -> list[str]:
    """The argument list of tcpdump; the capture goes to its standard output."""
    if not interface or interface.startswith("-") or not interface.isprintable():
        raise CaptureError(f"{interface!r} is not the name of an interface")
    argv = ["tcpdump", "-n", "-U", "-i", interface, "-s", str(snaplen), "-B", str(BUFFER_KIB), "-w", "-"]
    return [*argv, "--", bpf] if bpf else argv  # one argument: tcpdump joins them anyway, and a filter may begin with "-"


def grant(system: str, tcpdump: str = "$(command -v tcpdump)") -> str:
    """The command that gives the right to capture, once."""
    if system == "Darwin":
        return "sudo chgrp admin /dev/bpf* && sudo chmod g+rw /dev/bpf*"
    return f"sudo setcap cap_net_raw,cap_net_admin=eip {tcpdump}"


def default_interface(system: str) -> str:
    """``any`` on Linux. On macOS ``pktap,all``: every interface with loopback and bridges, one link type, process names."""
    return "pktap,all" if system == "Darwin" else "any"


# --- filter ---------------------------------------------------------------------------------------------------------------------------


def capture_filter(
    addresses: Iterable[str],
    redirect_ports: Iterable[int] = (),
    ssh_ports: Iterable[int] = SSH_PORTS,
    ssh_peers: Iterable[str] = (),
) -> str:
    """The filter made for the question.

    addresses : of the API; none: everything on port 443.
    redirect_ports : ports seen in use by sshuttle, beside the range it takes by itself.
    ssh_ports : where the tunnel's SSH server listens.
    ssh_peers : the only addresses SSH is recorded with (the VM's, seen from the host); none: everyone.
    """
    parts = [f"host {a}" for a in sorted({str(ipaddress.ip_address(a)) for a in addresses}, key=_by_version)] or [f"port {API_PORT}"]
    low, high = REDIRECT_PORTS
    ports = [f"portrange {low}-{high}"] + [f"port {_port(p)}" for p in sorted(set(redirect_ports)) if not low <= p <= high]
    parts.append(f"((host 127.0.0.1 or host ::1) and ({' or '.join(ports)}))")
    ssh = " or ".join(f"tcp port {_port(p)}" for p in sorted(set(ssh_ports)))
    peers = " or ".join(f"host {a}" for a in sorted({str(ipaddress.ip_address(p)) for p in ssh_peers}, key=_by_version))
    if ssh:
        parts.append(f"(({ssh}) and ({peers}))" if peers else f"({ssh})")
    parts += ["port 53", "udp port 5353"]
    return " or ".join(parts)


def without_own_streams(bpf: str, streams: Iterable[SshConnection]) -> str:
    """``bpf`` without the SSH connections that carry captures here: each of their packets would be captured, sent, captured again without end. The same
    goes for two recorders that capture each other's connections."""
    for own in streams:
        client, server = ipaddress.ip_address(own.client), ipaddress.ip_address(own.server)
        stream = f"tcp port {_port(own.client_port)} and tcp port {_port(own.server_port)} and host {client} and host {server}"
        bpf = f"({bpf}) and not ({stream})" if bpf else f"not ({stream})"
    return bpf


def _by_version(address: str) -> tuple[int, int]:
    parsed = ipaddress.ip_address(address)
    return parsed.version, int(parsed)


def _port(port: int) -> int:
    if not 0 < int(port) < 65536:
        raise CaptureError(f"{port} is not a port")
    return int(port)


def parse_ssh_connection(text: str) -> SshConnection | None:
    """The value of ``SSH_CONNECTION``: client address, its port, server address, its port (sshd(8)); None if it is anything else."""
    parts = text.split()
    try:
        client, server = (str(ipaddress.ip_address(parts[i].partition("%")[0])) for i in (0, 2))
        return SshConnection(client, _port(int(parts[1])), server, _port(int(parts[3])))
    except (ValueError, IndexError, CaptureError):
        return None


# --- ssh ------------------------------------------------------------------------------------------------------------------------------

_TART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?\Z")


def check_host(target: str) -> str:
    """``USER@HOST`` or an alias of the ssh configuration, refused if ssh might take it for an option or a command."""
    user, at, host = target.rpartition("@")
    if not host or (at and not user):
        raise CaptureError(f"{target!r} is not USER@HOST")
    if target.startswith("-") or host.startswith("-") or not target.isprintable() or any(c in " \t'\"`$\\;&|<>(){}*?!#" for c in target):
        raise CaptureError(f"{target!r} is refused as a host: it is not USER@HOST, and ssh might take it for something else")
    return target


def tart_name(target: str) -> str | None:
    """The VM's name of ``tart:NAME`` or ``USER@tart:NAME``; None if it is no such thing."""
    _, _, host = target.rpartition("@")
    if not host.startswith("tart:"):
        return None
    name = host.removeprefix("tart:")
    if not _TART.match(name):
        raise CaptureError(f"{name!r} is not the name of a tart VM")
    return name


def check_api(name: str) -> str:
    """A DNS name or an address, as ``--api`` takes it."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    if len(name) > 253 or not _NAME.match(name):
        raise CaptureError(f"{name!r} is neither a name nor an address")
    return name.lower().rstrip(".")


#: For every ssh that netlens starts, whatever the user's configuration says: no forwarded ports, network devices, agent, tickets or X11, no local
#: commands, no terminal.
SSH_LENDS_NOTHING = (
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "GSSAPIDelegateCredentials=no",
    "Tunnel=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "LogLevel=ERROR",
)
#: Breaks are noticed within 15 s.
_SSH_OPTIONS = ("ServerAliveInterval=5", "ServerAliveCountMax=3", "ConnectTimeout=15", *SSH_LENDS_NOTHING)


def _ssh(ssh: Sequence[str], target: str, socket: str, *options: str) -> list[str]:
    """ssh to ``target`` by the connection of ``socket``; of an option that is given twice ssh takes the first."""
    given = [word for option in (*options, *_SSH_OPTIONS, f"ControlPath={socket}") for word in ("-o", option)]
    return [*ssh, *given, "-T", "-e", "none", "--", check_host(target)]


def ssh_master(ssh: Sequence[str], target: str, socket: str) -> list[str]:
    """The one SSH connection of a recording; everything else goes through its ``socket``. It may ask for a password.

    Its remote command says what connection it is and then waits for its input to end, so that it lives no longer than netlens.
    Ctrl-C is ours to handle: ssh is started with SIGINT ignored, which it then leaves alone.
    """
    remote = shlex.join(["sh", "-c", 'echo "netlens: $SSH_CONNECTION"; exec cat >/dev/null'])
    master = _ssh(ssh, target, socket, "ControlMaster=yes", "ControlPersist=no")
    return ["sh", "-c", 'trap "" INT; exec "$@"', "netlens", *master, remote]


def ssh_session(ssh: Sequence[str], target: str, socket: str, argv: Sequence[str]) -> list[str]:
    """``argv`` run on the far side through the connection of :func:`ssh_master`; the remote shell gets each argument quoted.

    If that connection is gone, ssh would open one of its own, whose packets the capture there does not leave out: ``ProxyCommand=false`` forbids it.
    """
    return [*_ssh(ssh, target, socket, "ControlMaster=no", "BatchMode=yes", "ProxyCommand=false"), shlex.join(argv)]


def ssh_shared(ssh: Sequence[str], target: str, socket: str) -> list[str]:
    """What is put before a command on the VM where nothing is captured: the first one opens the connection, without a password, the others use it."""
    return _ssh(
        ssh, target, socket, "BatchMode=yes", "ControlMaster=auto", "ControlPersist=60", "ConnectTimeout=10", "ServerAliveCountMax=2"
    )
