"""Which sockets belong to whom, every second: ``sockets.jsonl``.

A capture shows addresses; which program opened a connection only its machine knows, and only while the socket exists. A row is one socket in one
sample: ``{"side", "time_ns", "local", "remote", "state", "process", "pid"}`` with the time of its own side's clock. Never arguments or environment.

*Limits*: a connection shorter than the interval may be missed; names of other users' programs are seen by root only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from netlens.capture import command, facts
from netlens.capture.programs.sockets import Socket, parse_sockets
from netlens.text import endpoint

#: One sample a second until it is told to end. `wait` and not `sleep` in front: the shell obeys a signal at once only in `wait`.
SCRIPT = r"""
PATH=$PATH:/usr/sbin:/sbin
trap 'exit 0' TERM
while :; do
  echo "%%netlens $(date +%s.%N)"
  if command -v ss >/dev/null; then ss -Htanp 2>/dev/null; else lsof -nP -iTCP -F pcPnT 2>/dev/null; fi
  echo "%%netlens end"
  sleep 1 >/dev/null & wait $!
done
"""

#: States in which the connection still holds a place at the far end, as far as this machine knows.
OPEN = frozenset({"ESTABLISHED", "SYN_SENT", "SYN_RECEIVED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "LAST_ACK", "CLOSING"})


class Sampler:
    """Makes rows of the script's output.

    side : goes into each row.
    write : takes a line of JSON.
    addresses : of the API; without any, everything on port 443 is the target.
    everything : keep all sockets; otherwise the target's, SSH's, and those at a redirect port.
    """

    def __init__(
        self,
        side: str,
        write: Callable[[str], None],
        addresses: Iterable[str] = (),
        redirect_ports: Iterable[int] = (),
        ssh_ports: Iterable[int] = command.SSH_PORTS,
        everything: bool = False,
        own: Iterable[command.SshConnection] = (),
    ):
        self.side, self.write, self.everything = side, write, everything
        self.addresses = frozenset(addresses)
        low, high = command.REDIRECT_PORTS
        self.redirect_ports = frozenset({*range(low, high + 1), *redirect_ports})
        self.ssh_ports = frozenset(ssh_ports)
        self.own = [{s.client_port, s.server_port} for s in own]
        self.open_now: int | None = None  #: connections to the target in the latest sample
        self.samples = 0
        self._time_ns: int | None = None
        self._lines: list[str] = []

    def line(self, text: str) -> None:
        """Take one line of the script's output."""
        if text == f"{facts.MARK} end":
            self._sample("\n".join(self._lines))
            self._lines.clear()
        elif text.startswith(facts.MARK + " "):
            self._time_ns = facts.parse_time(text[len(facts.MARK) :])
            self._lines.clear()
        else:
            self._lines.append(text)

    def _sample(self, text: str) -> None:
        if self._time_ns is None:
            return
        open_now = 0
        for s in parse_sockets(text):
            if s.remote_ip is None or s.remote_port is None or {s.local_port, s.remote_port} in self.own:
                continue
            target = self.is_target(s)
            open_now += target and s.state in OPEN
            if target or self.everything or self._matters(s):
                row = {
                    "side": self.side,
                    "time_ns": self._time_ns,
                    "local": endpoint(s.local_ip, s.local_port),
                    "remote": endpoint(s.remote_ip, s.remote_port),
                    "state": s.state,
                    "process": s.process,
                    "pid": s.pid,
                }
                self.write(json.dumps(row))
        self.open_now = open_now
        self.samples += 1

    def is_target(self, socket: Socket) -> bool:
        """Whether the far end is the API. A tunnelled program's socket still names the API; sshuttle's own half has the program as its far end."""
        return socket.remote_ip in self.addresses if self.addresses else socket.remote_port == command.API_PORT

    def _matters(self, s: Socket) -> bool:
        # sshuttle's half of a redirected connection reports the API as its local end (the original destination)
        if s.local_ip in self.addresses or s.remote_port in self.ssh_ports or s.local_port in self.ssh_ports:
            return True
        return s.local_port in self.redirect_ports or s.remote_port in self.redirect_ports
