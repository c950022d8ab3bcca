"""Was anything refused, by which limit, because of whom, and what would help?

Asks: which requests the provider refused, what kind of limit tells refused from accepted, which traffic brings it to refuse, and which change would help.
Applies: where a request to the target was refused; the labels say so (:mod:`netlens.lenses.refused.labels`).
Cannot see: what the provider counts besides what left by the captured address, and requests of HTTP/2 without keys; a login that is refused inside TLS.
Normal: a refusal that a client answers by another way at once, which then works: an unknown EHLO (RFC 5321 3.2), a pre-authentication asked for (RFC 4120).

Its parts, in the order in which they work: ``labels`` (one source a file), ``counting`` and ``limit`` (what was open), ``limiters`` and ``over_time`` (what was
sent before), ``weighing``, ``causes`` (one file each), ``judging``, ``evidence`` (sentences for and against), ``deciding`` (what would decide) and ``verdict``,
then ``intents``, ``replay`` and ``fixes`` (one file each).
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.chains.parties import listed, of_requests
from netlens.chains.situation import ACCEPTED, REJECTED
from netlens.lenses import Finding, Severity
from netlens.lenses._dialogs import IN_WORDS, Refusal, refusals
from netlens.lenses._granted import checks
from netlens.lenses._view import S, View, finding, frame_filter, grouped, most, views
from netlens.lenses.http_errors import final_answers, served_later
from netlens.lenses.refused.labels import STATUS
from netlens.lenses.refused.verdict import needed
from netlens.lenses.tls_failed import DTLS
from netlens.parsers.denials import BY_NAME, FOUND, KNOWN, LIMITED, NOTHING, Answer
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.chains.traffic import Traffic
    from netlens.columns import Array, Bools
    from netlens.lenses.refused.fixes import Prediction
    from netlens.lenses.refused.weighing import Weighed, Weighing
    from netlens.parsers.denials import Denying

ID = "refused"
GROUP = "answers"
RANK = 30
FRAMES = 10  #: refused requests that a finding cites
#: An answer whose last byte comes so soon after its first is none that is written bit by bit; and the share of the others that must be such streams.
_WHOLE_NS, _STREAMS = S // 20, 0.9
_FEW_SHARE = 0.1  #: of all requests; one of fewer that was granted when it was sent again cost its client a pause
_OFTEN = 5  #: so many answers that refuse, and a share of all (:data:`Denying.OFTEN`), are a problem, though something is granted later
_POLLED = 10  #: answers that grant, of who polls
_SOUGHT = {"TFTP": ("file not found",)}  #: what a loader tries one after the other until it finds one
_EAP = BY_NAME["EAP"].NAME
#: How refusals begin that a client answers by another offer, by protocol; and within which time that is taken if nothing was lost
_ANOTHER_WAY, _AT_ONCE_NS = {"SIP": BY_NAME["SIP"].DAILY, "RDP": ("the server",), "RTSP": BY_NAME["RTSP"].DAILY}, 5 * S
#: How refusals end by which who asks refuses the server: a person who is asked whether to trust it may do so at the next try
_BY_CLIENT = "by the client (TLS inside EAP)"
_OF_ONE_MAIL, _START_MAIL = (
    ("MAIL", "RCPT", "DATA"),
    int.from_bytes(b"354", "big"),
)  #: what is about a mail, and how a server of SMTP lets it come
_APART_NS = S // 20  #: another try: its client was told the first, and begins anew
MISTYPED = 2  #: logins that were refused before one that was not
_OTHER_WAY_NS = S  #: another try of the same program, which asks nobody
_PRINTS_NS = 60 * S  #: for how long what a server granted another client may keep it busy
_SOUGHT_IN_VAIN = 10  #: searches of a client that never finds anything: no check whether something is there
UNMET = 3  #: answers that ask for credentials, say, and are all that a client gets; a first one is ordinary, a second may be a copy of it
#: Words of refusals for which user, password or permissions are to blame; Kerberos speaks of tickets and keys
_OF_LOGIN = (
    "login",
    "logon",
    "password",
    "credential",
    "authent",
    "authoriz",
    "denied",
    "permi",
    "noperm",
    "account",
    "integrity",
    "ticket",
)
_LOGIN = "Check user, password and permissions at that server; its log says what it did not like."
_HOSTS = "The server does not let this client's address in: see its list of hosts."
_REPLY = "Its reply says why (follow the connection in Wireshark), and so does the server's log."
#: Where nobody's password or permissions are to blame: what is full, starts or stops, is down behind the server, or is to be said inside TLS
_FULL = "Raise the server's limit (maxclients in Redis), or keep fewer connections open (a pool)."
_NOT_READY = (
    "The server starts, recovers or stops, and lets nobody in meanwhile: its log says how far it is. Have programs try again for that long."
)
_TLS_FIRST = "The server wants TLS before that (STARTTLS, AUTH TLS, ldaps): turn it on in the client."
_LATER = "The server does not take it for now (greylisting, a full disk or mailbox, a limit): its reply says why. Senders try again later."
_BEHIND = "The server, or one that it needs for this, is down or overloaded: its log says which."
_ADVICE = {
    "send hold timer": "The other end took nothing of what was sent for that time (RFC 9687): it hung, or its window stayed shut.",
    "hold timer expired": "{client} had sent nothing for the hold time: it hung, or its packets were lost (link, MTU, filter).",
    "unknown common address": "The master asks for a station address that this one does not have: compare the common address (CA, ASDU address) at both ends.",
    "object unknown": "The outstation has no such objects: compare the master's list of points with what the outstation offers.",
    "routing activation": "The gateway does not take this tester: see its logical address, and whether another one is connected.",
    "not passed on": "The gateway does not reach that control unit: see the target's logical address.",
    "no such tag": "The controller has no such tag: see how it is spelt, and whether it is in a program, or not visible from outside.",
    "error: unknown object": "The device has no such object: compare the client's list of objects with the device's.",
    "BadNodeIdUnknown": "The server has no such node: see namespace and identifier, which may change when its configuration does.",
    "BadNotWritable": "The server lets nobody write that node, or not this user: see its access level, and who is logged in.",
    "BadUserAccessDenied": "The server does not let this user do that: see its permissions there.",
    "item: object does not exist": "The controller has no such data block or area: see its number, and whether it is optimized (PUT/GET cannot read such).",
    "item: address out of range": "The data block is shorter than what is asked for: see its length in the controller.",
    "item: access not allowed": "The controller does not allow it: let it take PUT/GET from partners, or see its protection level.",
    "no more connections": "All tunnels of the gateway are in use: close one, or give it more (ETS).",
    "leader not available": "The topic's partitions have no leader: see which brokers are down, and the controller's log.",
    "I/O error (EIO": "The server cannot read or write its own disk: see its log.",
    "mount:": "The server does not export that directory to this client: see its exports (exportfs -v, showmount -e).",
    "Unknown module": "The server has no module of that name: see its rsyncd.conf (rsync HOST:: lists them).",
    "APN": "The gateway does not know that APN, or not for this subscriber: see how it is spelt on the device, and the gateway's list.",
    "Access-Reject": "The server does not let this user, or device, in: its log says why (password, certificate, policy).",
    "service not known": "The KDC has no such service: see the name of the host that the client asks for (DNS, aliases), and register it (SPN, keytab).",
    "not synchronised": "The server itself has no time: see which sources it follows, and whether it reaches them; give clients several servers.",
    "sizeLimitExceeded": "The server gives no more entries than its limit: let the client ask for pages (RFC 2696), or search for less.",
    "user unknown": "The server does not know that subscriber: see whether it is provisioned there.",
    "taken over": "Two clients have the same client identifier, and throw each other out: give each one its own.",
    "messages blocked": "The broker takes no messages until it has memory or disk again (an alarm; rabbitmqctl status): publishers wait for it.",
    "421 to": "The server takes no more for now: too many connections (perhaps of this address alone), or it stops; its reply says which. Open fewer at once.",
    **dict.fromkeys(("450 to", "451 to", "452 to"), _LATER),
    **dict.fromkeys(
        ("530 to MAIL", "530 to RCPT"), "The server wants STARTTLS or a login before mail: its reply says which; turn it on in the client."
    ),
    "530 to USER": "The server refused before any password: it wants TLS first (AUTH TLS), or does not take that user; its reply says which.",
    "454 to AUTH": "The server cannot check logins for now, or wants STARTTLS first: its reply and its log say which.",
    "538 to AUTH": _TLS_FIRST,
    "to STARTTLS": "The mail server cannot begin TLS (its key cannot be read, say): its log says why. Who insists on TLS sends nothing till then.",
    "APPEND": "The server does not store messages there: the mailbox may be full (quota), or not be there; its reply says why.",
    **dict.fromkeys(
        ("to STOR", "to STOU", "to APPE"),
        "The server does not store that file there: permissions, no such folder, or no space (552: a quota); its reply says which.",
    ),
    **dict.fromkeys(
        ("an error without a code", "access violation"),
        "The server's words say why, most often that it may not read the file: let everybody read it there (tftpd gives only such files).",
    ),
    "to RETR": "The server does not give that file: it is not there, or not for this user; its reply says which.",
    "552 to": "The mail is larger than the server takes (RFC 1870; message_size_limit in Postfix), or the mailbox is full: its reply says which.",
    "to RCPT": "The server does not take mail for that recipient, or not from this client: its reply says why.",
    "to MAIL": "The server does not take mail from that sender, or not from this client: its reply says why.",
    "to DATA": "The server does not take that message: its reply says why.",
    "NO to the login": "Its reply says why: a wrong password, too many connections of one user (mail_max_userip_connections), or TLS that is wanted first.",
    "negative acknowledgement": "The print server does not take the job: it does not know that queue, or it is stopped or full; its log says which.",
    "DRIVER-NOT-CONNECTED": "The UPS's driver does not run, or has lost its cable: start it (upsdrvctl), and look at its log.",
    "DATA-STALE": "The UPS's driver hears nothing from it: look at its cable, and at the driver's log.",
    "UNKNOWN-UPS": "The server has no UPS of that name: see its ups.conf.",
    "not authorized (2)": "The router maps no ports for this client: it is turned off, or a rule forbids it (UPnP/NAT-PMP in its settings).",
    "name is held": "Two hosts want one NetBIOS name: rename one of them.",
    "several hosts have": "Two hosts want one NetBIOS name: rename one of them.",
    "(SMB 1 only)": "The client speaks SMB 1 alone, and the server has that switched off: update the client, or let it take another way (FTP, mail).",
    "no dialect in common": "The server takes none of the versions of SMB that the client offers: update the older one, or see which are switched off.",
    "extended request": "The server does not know what the client asks first, most often StartTLS: give it a certificate, or let the client use ldaps.",
    "not there:": "The agent has nothing under that name: a wrong OID, another MIB, or 64-bit counters asked for by SNMP 1, which has none; ask by 2c.",
    "document format": "The printer does not know that kind of document: take a driver (or filter) that it knows, such as PDF, PWG raster or PCL.",
    "not accepting jobs": "The printer's queue takes no jobs: turn it on (cupsaccept), and see why it was stopped.",
    "transaction number": "Masters drop such answers: the server or gateway is one answer behind, as after a timeout; start it anew, or update it.",
    "masked by": "A firewall overwrites what the mail server offers (Cisco: inspect esmtp): turn that inspection off, or allow TLS in it.",
    "unsupported transport": "The camera or server takes no such transport: let the client ask for RTP over TCP (interleaved), or for UDP.",
    "too inaccurate": "The server itself says that its time is that uncertain, so most clients do not take it: let it follow better clocks.",
    "password has expired": "The password of that account has expired: change it (kpasswd, ALTER USER), or let it not expire if a service uses it.",
    "access denied (": "The server knows that user, who may not do that: see its permissions (GRANT).",
    "denied (": "The server does not serve this client: see its list of addresses, or ask another server.",
    "clocks differ": "Set the clocks of client and server (NTP): Kerberos allows five minutes.",
    "table not known": "The database lacks a table: a migration was not run, or the program uses another database or schema.",
    "column not known": "The database lacks a column: a migration was not run, or the program is of another version.",
    "read-only": "The server takes no writes: it is a replica, or a setting forbids them. After a failover, see where the programs write to.",
    "cancelled (57014": "The server ends statements that take longer than it allows (statement_timeout): see what they wait for.",
    "took too long": "The server ends statements that take longer than it allows: see what they wait for.",
    "MOVED in circles": "The nodes disagree on who has that slot: compare CLUSTER SHARDS of both, and end a slot's move that hangs (redis-cli --cluster fix).",
    "waited too long": "Another transaction holds the lock: see which one is left open.",
    "deadlock": "Transactions take the same locks in another order; the program should try again what was taken back.",
    "packet too large (1153": "Raise max_allowed_packet, or write less at once.",
    "no TLS": "Turn TLS on at the server, or let the client do without (sslmode).",
    "a pooler": "The log of the server or its pooler (PgBouncer says 08P01 to all that it refuses) says which limit or rule it was.",
    "database not known": "The server has no such database: see how it is spelt in the client's settings, and whether it was made there.",
    **dict.fromkeys(("client not known", "user not known"), "The server does not know that name: check user and realm."),
    "statement not known": "Prepared statements live on one connection: a pooler gave another one (PgBouncer: max_prepared_statements), or it was reset.",
    **dict.fromkeys(("too many connections", "too many clients", "active connections exceeded"), _FULL),
    **dict.fromkeys(("not ready (57P03", "not ready (1047", "LOADING"), _NOT_READY),
    "busy with a script": "A script runs without an end, and the server does nothing else meanwhile: stop it (SCRIPT KILL), and see which one it is.",
    "MISCONF": "The server could not save its data and takes no writes until it can (stop-writes-on-bgsave-error): see its disk, its memory and its log.",
    "protected mode": "The server has no password and serves its own host alone: give it one (requirepass, ACL) before it listens for others.",
    "no password is set": "The client sends a password and the server has none: set one there, or take it out of the client's settings.",
    "READONLY": "The server is a replica and takes no writes: have the client ask for the primary (Sentinel, cluster), as after a failover.",
    "MASTERDOWN": "The replica has lost its primary: see whether that runs, and whether the replica reaches it.",
    "CLUSTERDOWN": "Some slots have no node, or the node reaches too few others: see CLUSTER INFO and CLUSTER NODES.",
    "NOREPLICAS": "The server takes writes only with enough replicas (min-replicas-to-write): see which are gone.",
    "a transaction idle": "The program holds a transaction open while it does something else (idle_in_transaction_session_timeout): have it commit before.",
    "ended by an administrator": "Somebody ended it: a restart, a failover, or pg_terminate_backend; the server's log says when. Have programs connect anew.",
    "the server crashed": "A process of the server crashed, and all had to leave: see its log, and whether memory ran out.",
    "disk is full": "The server's disk is full: make room there.",
    "table is full": "The table, or the disk below it, is full: make room there.",
    "out of memory": "The server has no memory left, or reached the limit that it was given (maxmemory in Redis): see what takes it.",
    "a limit of": "The server has a limit for that: its reply and its log say which.",
    "way of login not supported": "Client and server know no way of login in common: update the client's library, or change the account's plugin.",
    "TLS is required": _TLS_FIRST,
    "a maximum exceeded": "The server has a limit for that (max_payload, max_connections of NATS): its reply and its log say which.",
    **dict.fromkeys(("confidentialityRequired", "strongerAuthRequired"), _TLS_FIRST),
    **dict.fromkeys(
        ("NO_LOGON_SERVERS", "NETLOGON_NOT_STARTED"), "The server reaches no domain controller to ask: see its DNS, and whether these run."
    ),
    **dict.fromkeys(("service unavailable", "out of resources", "target error", "UNAVAILABLE"), _BEHIND),
    **dict.fromkeys(
        ("target not found", "target removed"), "The storage has no target of that name, or not for this initiator: see how it is spelt."
    ),
    **dict.fromkeys(("UNKNOWN (2)", "INTERNAL (13)", "DATA_LOSS"), "The server's program failed: its log says why."),
    "DEADLINE_EXCEEDED": "The server, or one behind it, was slower than the deadline that the client set: see what it waits for.",
    "host blocked": _HOSTS,
    "host not allowed": _HOSTS,
    "not understood": "The client speaks what this server does not know: another version or protocol, or a scanner.",
    "HTTP/2 was answered in": "The port speaks another protocol than HTTP/2: turn that on in the server, or have the client begin in HTTP/1.1.",
    "was answered in": "The port speaks another protocol: check the port number, and what runs there.",
    "to messages of": "The server takes no messages of that length (4 MiB where nobody says otherwise): send less at once, or raise its limit.",
    "to the same call": "What the client asks for is there no more (etcd: compacted; see auto-compaction): have it begin anew from what is there now.",
    "RESOURCE_EXHAUSTED": "The server has none left of something, as of this client's quota, or of its own disk (etcd: NOSPACE): its log says of what.",
    "instead of refs": "The server says why in that line: the repository is not there under that name, or not exported (git-daemon-export-ok).",
    "UNIMPLEMENTED": "The server does not have that method: client and server are of other versions, or it is another service.",
    "WebSocket cut": "Something ends connections that are silent for so long, as a proxy's read timeout: raise it, or have the program send pings.",
    "WebSocket ended": "The server's program, or a proxy in front of it, drops the connection without a close (1006): look at their logs.",
    "WebSocket closed": "The server's program ended the WebSocket: its log says why.",
    "host key is not": "The client does not trust the server's host key: it is new, or another server answers; see known_hosts (ssh-keygen -R).",
    "in common": "Client and server know no algorithm for that which both take: one of them is too old or set too strictly (ssh -Q; KexAlgorithms, Ciphers).",
    "without a heartbeat": "The client sent nothing for two intervals: have it send heartbeats while its program works, or agree on a longer interval.",
    "answer its PINGs": "The client's program was busy, or stuck: have it read from its connection while it works (a thread or task of its own).",
    "acknowledge in time": "A job took longer than the broker waits (consumer_timeout), and is given out again: acknowledge sooner, or raise that.",
    "GOAWAY": "The server ended HTTP/2 for an error, or as the client asks too much of it: its log says which.",
    "and the end": "The server says in that line why it ends the connection: follow it in Wireshark, and look at its log.",
    "closed before": "The server takes no connections from this client now: MaxStartups, hosts.deny, or a host that is full; its log says which.",
    "address is in use": "Another host has that address: find the one that took an address out of the server's range.",
}


@dataclass(frozen=True, eq=False)
class Judged:
    """The verdicts on all causes with what they rest on, and what each fix would change, the best first."""

    weighed: Weighed
    fixes: list[Prediction]


def judge(traffic: Traffic) -> Judged:
    """Weigh what was refused and replay what would help. Through ``traffic.once`` it is worked out once."""
    from netlens.lenses.refused.fixes import context, predict
    from netlens.lenses.refused.over_time import rule_of
    from netlens.lenses.refused.weighing import weigh

    weighed = _of_some_parties(traffic, weigh(traffic.situation))
    timely = weighed.by_time
    rule = rule_of(traffic.situation, timely[0]) if timely else weighed.rule_by_size or weighed.limit
    over_time = bool(weighed.weighing.by_time) or weighed.cause == "own-rate"
    where = context(traffic, weighed.cause, over_time, weighed.weighing.named == "quota")
    fixes = predict(weighed.weighing.situation, rule, where)
    if below := weighed.weighing.unexplained:
        said = f"{plural(below, 'refusal')} came below the limit, and may come again"
        fixes = [
            each if each.rejections_after is None else replace(each, note="; ".join(filter(None, [said, each.note]))) for each in fixes
        ]
    return Judged(weighed, fixes)


def _of_some_parties(traffic: Traffic, weighed: Weighed) -> Weighed:
    """What was weighed; where no limit explains it, without some of the requests if a limit explains the rest: those of one of several parties that share the
    egress with the VM, which has another key; or those that are never refused and answered in another way, or small. The provider counts them by themselves,
    or not at all.

    Where a limit on bytes explains it, a limit on the number of those that are not small is taken instead if it explains as much."""
    from netlens.chains.situation import APART
    from netlens.lenses.refused.limiters import SIZED
    from netlens.lenses.refused.over_time import Fit
    from netlens.lenses.refused.weighing import AGAINST_ITS_WORD, ALPHA, weigh

    w, s = weighed.weighing, traffic.situation
    by_bytes = next((fit for fit in w.by_time[:1] if fit.limiter.COUNTS == "bytes"), None)
    if (w.kind and by_bytes is None) or w.named or w.chance or not w.inference.enough:
        return weighed
    r = s.requests
    tried = [*([] if w.kind else [*_by_party(traffic), *_answered_whole(w)]), *_small(w)]
    found: list[Weighed] = []
    for theirs, facts in tried:
        left = replace(r, rejected=np.where(theirs, np.int8(APART), r.rejected))
        gone = np.isin(np.arange(len(s.sessions)), r.session[theirs & (r.session >= 0)])
        open_ = replace(
            s.sessions,
            end_ns=np.where(gone, s.sessions.start_ns, s.sessions.end_ns),
            done_ns=np.where(gone, s.sessions.start_ns, s.sessions.done_ns),
        )
        one = weigh(replace(s, requests=left, sessions=open_, facts={**s.facts, **facts}))
        if (best := one.weighing.taken) is None or best.p * len(tried) > ALPHA:
            continue
        if by_bytes is not None and not (
            isinstance(best, Fit) and best.limiter.COUNTS not in SIZED and best.log_likelihood >= by_bytes.log_likelihood
        ):
            continue
        if "others" in facts or best.misses + best.false_alarms <= AGAINST_ITS_WORD * (
            one.weighing.inference.refused + one.weighing.inference.accepted
        ):
            found.append(one)
    return max(found, key=lambda each: each.weighing.explained, default=weighed)


def _by_party(traffic: Traffic) -> list[tuple[Bools, dict[str, Any]]]:
    """The requests of each party that shares the egress with the VM, where there are several, and what is known without them."""
    from netlens.chains.situation import HOST

    (everybody, of), r = traffic.once(of_requests), traffic.situation.requests
    names = np.array([each.name for each in everybody], object)[of]
    others = sorted(set(names[r.side == HOST].tolist()))
    masks = [(name, names == name) for name in others if len(others) > 1]
    return [
        (theirs, {"others": listed(each for each in others if each != name), "left_out": f"the {_requests(theirs)} of the {name}"})
        for name, theirs in masks
    ]


def _answered_whole(weighing: Weighing) -> list[tuple[Bools, dict[str, Any]]]:
    """The requests on connections on which each answer came at once and none was refused, where the others' answers are streams: embeddings beside chats.

    None where they are few, or what is left would hardly show a limit.
    """
    from netlens.lenses.refused.limit import ENOUGH
    from netlens.lenses.refused.weighing import MANY

    r = weighing.situation.requests
    whole = (r.answer_ns > 0) & (r.end_ns - r.answer_ns < _WHOLE_NS) & ~weighing.refused & (r.session >= 0)
    theirs = whole & ~np.isin(r.session, r.session[~whole])
    rest = (r.rejected == ACCEPTED) & ~theirs
    if weighing.inference.refused < MANY or min(int(theirs.sum()), int(rest.sum())) < ENOUGH or whole[rest].mean() > 1.0 - _STREAMS:
        return []
    return [(theirs, {"left_out": f"the {_requests(theirs)} that were answered at once, by connections of their own,"})]


def _small(weighing: Weighing) -> list[tuple[Bools, dict[str, Any]]]:
    """The requests of another order of size than the larger ones, if none was refused and that is no chance: questions whether a job is done, which take next
    to nothing of a limit on bytes and may be free under one on requests."""
    from netlens.lenses.refused.counting import models
    from netlens.lenses.refused.weighing import ALPHA

    r = weighing.situation.requests
    small = models(r) == 1
    if not small.any() or (small & weighing.refused).any():
        return []
    by_chance = (1.0 - weighing.refused[r.rejected >= 0].mean()) ** (small & (r.rejected == ACCEPTED)).sum()
    return [(small, {"left_out": f"the {plural(int(small.sum()), 'small request')}"})] if by_chance <= ALPHA else []


def _requests(mask: Bools) -> str:
    return plural(int(mask.sum()), "request")


def _queued(traffic: Traffic) -> list[Finding]:
    """One finding, if requests stood in a queue instead of being refused."""
    from netlens.lenses.refused import queue

    found = queue.fit(traffic.situation)
    if found is None:
        return []
    n, all_ = int(found.waited.sum()), len(traffic.situation.requests)
    text = (
        f"{n:,} of {plural(all_, 'request')} waited for another to end, typically {found.median_ns / 1e9:,.1f} s. "
        f"The provider serves {found.value} at once and refuses none."
    )
    values = {"requests": all_, "waited": n, "served_at_once": found.value, "median_wait_s": found.median_ns / 1e9}
    return [_of_requests(traffic, "queued", "warning", text, found.waited, values)]


def look(view: View) -> list[Finding]:
    """What servers of other protocols than the target's refused; of the target see :func:`of_target`."""
    return [*_of_dialogs(view), *_of_answers(view)]


def _taken(view: View) -> dict[tuple[str, str, int], list[int]]:
    """By client, server and port, when sessions without a refusal began, in order."""
    refused, starts = {each.session for each in view.once(refusals)}, view.column("start_ns")
    taken = sorted((k for k in view.whole if k not in refused), key=starts.__getitem__)
    return {service: [starts[k] for k in group] for service, group in grouped(taken, view.service).items()}


def _made_up_for(view: View, r: Refusal) -> bool:
    """Whether a later session of the same ends went without any: after a refusal for now (45z of SMTP, RFC 5321 4.2.1; 57P03 of PostgreSQL), as greylisting
    wants it, or a server that starts; at once, as a program comes the other way, with or without TLS (libpq's sslmode=allow); or after a login or two that were
    refused: somebody mistyped; or to a database that was not there, and now is."""
    if "(3D000)" in r.what:
        return r.session in view.once(_made_since)
    began, service = view.column("start_ns")[r.session], view.service(r.session)
    taken = view.once(_taken).get(service, [])
    later = taken[bisect.bisect_right(taken, began) :][:1]
    if not later:
        return False
    for_now = (r.protocol == "SMTP" and r.what.startswith("45")) or (r.protocol == "PostgreSQL" and "57P0" in r.what)
    other_way = "(28000)" in r.what and later[0] - began <= _OTHER_WAY_NS
    return for_now or other_way or (r.of_login and view.once(_failed_logins)[service] <= MISTYPED)


def _made_since(view: View) -> set[int]:
    """Sessions of clients of PostgreSQL that a server lets into the same database later."""
    databases, starts = view.side.capture.databases, view.column("start_ns")
    refused = {each.session for each in view.once(refusals)}
    same = grouped((k for k in view.whole if k in databases), lambda k: (view.service(k), databases[k])).values()
    last = [(group, max((starts[k] for k in group if k not in refused), default=0)) for group in same]
    return {k for group, let_in in last for k in group if starts[k] < let_in}


def _failed_logins(view: View) -> Counter[tuple[str, str, int]]:
    """How many sessions of a client with a server had a login refused."""
    return Counter(view.service(k) for k in {r.session for r in view.once(refusals) if r.of_login})


def _of_dialogs(view: View) -> list[Finding]:
    found = view.once(refusals)
    lasting = [r for r in found if r.lasting and not _made_up_for(view, r)]
    lasting = _without_one_mail(view, lasting)
    shown = lasting or [r for r in found if r.protocol != IN_WORDS] or found
    if not shown:
        return []
    sessions = sorted({r.session for r in shown})
    protocols = sorted({r.protocol for r in shown})
    servers = {view.ends(k)[2:] for k in sessions}
    all_ = sum(view.ends(k)[2:] in servers for k in view.first_copies)
    whom, what = most(view.server(k) for k in sessions), most(r.what for r in shown)
    values = {"connections": all_, "refused": len(sessions), "protocols": protocols, "replies": sorted({r.what for r in shown})}
    n, of = len(sessions), plural(all_, "connection")
    if protocols == ["gRPC"]:  # one connection carries all that a program asks
        calls = view.side.capture.grpc
        n, asked = (
            sum(len(r.frames) for r in shown),
            sum(calls[k].requests for k in view.first_copies if k in calls and view.ends(k)[2:] in servers),
        )
        of, values["calls"], values["refused_calls"] = plural(asked, "call"), asked, n
    text = f"{n:,} of {of} to {whom} got a refusal: {what} ({', '.join(protocols)})."
    if protocols == [IN_WORDS]:
        text = f"{len(sessions):,} of {plural(all_, 'connection')} to {whom} ended with a line that begins with {what}, which may be an answer."
    advice = _hint([r.what for r in shown], _LOGIN if any(r.of_login or _of_login(r.what) for r in shown) else _REPLY) if lasting else ""
    return [finding(view, ID, "problem" if lasting else "warning", text, [f for r in shown for f in r.frames], values, advice)]


def _without_one_mail(view: View, lasting: list[Refusal]) -> list[Refusal]:
    """Without the only mail of a client that a server takes for good (RFC 5321 4.2.1), if it takes others: it is too large, or for nobody there."""
    of_mail = [r for r in lasting if r.protocol == "SMTP" and r.what.startswith("55") and r.what.endswith(_OF_ONE_MAIL)]
    if not of_mail:
        return lasting
    times = Counter(view.service(r.session) for r in lasting)
    sent = view.sessions_where(lambda head: head >> np.uint64(40) == np.uint64(_START_MAIL), view.first_replies > 0)
    of_data = {r.session for r in lasting if r.what.endswith("DATA")}  # that one it let come
    taken = {view.service(k) for k in view.whole if k in sent and k not in of_data}
    one = {id(r) for r in of_mail if times[view.service(r.session)] == 1 and view.service(r.session) in taken}
    return [r for r in lasting if id(r) not in one]


def _hint(said: list[str], otherwise: str) -> str:
    return next((hint for word, hint in _ADVICE.items() if all(word in each for each in said)), otherwise)


def _of_login(what: str) -> bool:
    """Whether a refusal speaks of user, password or permissions."""
    return any(word in what.lower() for word in _OF_LOGIN)


def _aside(refused: list[Answer], these: list[Answer]) -> set[int]:
    """The id of a refusal that is the only one of its kind, if the server granted the client more on another connection than on that one before."""
    granted = Counter(a.port for a in these if not a.no)
    return {id(a) for a in refused if len(refused) == 1 and any(n > granted[a.port] for port, n in granted.items() if port != a.port)}


def _challenged_in_vain(answers: list[Answer], challenges: tuple[str, ...]) -> bool:
    """Whether a client hears challenges, or that another offer is wanted, again and again from one server, and nothing else from any."""
    return max(Counter(a.server for a in answers).values()) >= UNMET and all(a.no.startswith(challenges) for a in answers)


def _ordinary(answers: list[Answer], member: Denying) -> set[int]:
    """Ids of refusals that need not be any trouble: what who checks a server by the clock wants to hear, what another client has to end first, and what is
    asked only once, or is not to be had beside much that is."""
    found: set[int] = set()
    granted = grouped((a for a in answers if not a.no), lambda a: a.server)
    for (client, server), these in grouped(answers, _one_server).items():
        found |= _aside([a for a in these if a.no.startswith(member.ASIDE)], these) if member.ASIDE else set()
        checked = all(a.no.startswith(member.CHECKS) for a in these)
        put_off = [a for a in these if a.no.startswith(member.TURNS)]
        if put_off and any(g.client != client and put_off[0].ts - _PRINTS_NS <= g.ts <= put_off[-1].ts for g in granted.get(server, ())):
            found |= {id(a) for a in put_off}
        for asked, same in grouped(these, lambda a: a.asked).items():
            refused = [a for a in same if a.no]
            if (checked and checks([a.ts for a in same])) or (
                asked and len(refused) == 1 and (refused[0].no or "").startswith(member.REPEATED)
            ):
                found |= {id(a) for a in refused}
    return found


def _goes_on(refused: list[Answer], answers: list[Answer]) -> bool:
    """Whether who refuses was granted something by that client between one time and the next: what is offered within a call, and is not taken, leaves the
    call as it was (RFC 3261 14.1)."""
    grants = grouped((a for a in answers if not a.no), lambda a: (a.server, a.client))
    in_order = pairwise(sorted(refused, key=lambda a: a.ts))
    apart = [(a, b) for a, b in in_order if b.ts - a.ts > _AT_ONCE_NS]  # others are copies, or sent again
    return bool(apart) and all(any(a.ts < g.ts < b.ts for g in grants.get((b.client, b.server), ())) for a, b in apart)


def _cured(answers: list[Answer], protocol: str) -> list[Answer]:
    """Refusals that the same server took back at once, as the client came another way."""
    granted = [a for a in answers if not a.no]
    refused = [a for a in answers if a.no.startswith(_ANOTHER_WAY.get(protocol, ("\0",)))] if granted else []
    last: dict[tuple[str, str], int] = {}
    found = []
    for a in sorted(granted + refused, key=lambda each: (-each.ts, bool(each.no))):
        if not a.no:
            last[a.client, a.server] = a.ts
        elif last.get((a.client, a.server), 1 << 62) - a.ts <= _AT_ONCE_NS:
            found.append(a)
    return found


def _of_searches(answers: list[Answer], again: int) -> list[Answer]:
    """Answers to searches of clients for which there was never anything, and that searched more than once or twice; or (``again``) anew, so often, each time on
    a connection of its own."""
    of = grouped((a for a in answers if a.no.startswith((NOTHING, FOUND))), lambda a: a.client)
    return [
        a
        for these in of.values()
        if (len(these) >= UNMET or _anew(these) >= again) and all(a.no.startswith(NOTHING) for a in these)
        for a in these
    ]


def _anew(answers: list[Answer]) -> int:
    """On how many connections a client was answered, but for those at once beside others."""
    first = {a.port: a for a in reversed(answers)}
    return _tries(list(first.values()))


def _last_words(answers: list[Answer], said: tuple[str, ...]) -> set[int]:
    """Ids of answers that begin so and are the last that a client is told on a connection, often enough and not at once; but not of one on which it was
    told so before, and got on."""
    of: dict[tuple[str, str], list[Answer]] = {}
    for (client, server, _), these in grouped(answers, lambda a: (a.client, a.server, a.port)).items():
        last = max((k for k, a in enumerate(these) if not a.no), default=-1)
        run = [a for a in these[last + 1 :] if a.no.startswith(said)]
        if len(run) < UNMET and any(a.no.startswith(said) for a in these[: last + 1]):
            continue
        of.setdefault((client, server), []).extend(run)
    return {id(a) for these in of.values() if _tries(these) >= UNMET for a in these}


def _tries(answers: list[Answer]) -> int:
    """How often a client was answered, without what came at once behind another."""
    times = sorted(a.ts for a in answers)
    return 1 + sum(b - a >= _APART_NS for a, b in pairwise(times)) if times else 0


def _but_of_the_last_poll(lasting: list[Answer], answers: list[Answer]) -> list[Answer]:
    """Without what was refused once behind the last grant to a client that is granted something again and again: the capture just ended there."""
    many = Counter(a.client for a in answers if not a.no)
    tries = {client: _tries(these) for client, these in grouped(lasting, lambda a: a.client).items()}
    return [a for a in lasting if many[a.client] < _POLLED or tries[a.client] > 1]


def _nothing_else(answers: list[Answer], member: Denying) -> set[int]:
    """Ids of refusals that are all that a client hears of any server, to one question, in so many tries."""
    found: set[int] = set()
    for these in grouped(answers, _any_server).values():
        for said, tries in member.VAIN:
            same = grouped(these, lambda a: a.asked).values() if all(a.no.startswith(said) for a in these) else ()
            found |= {id(a) for group in same if _tries(group) >= tries for a in group}
    return found


def _carries(view: View, since: int) -> bool:
    """Whether a connection that began since some time was answered. 802.1X is forwarded by no switch (IEEE 802.1X-2010 11.1.1): what is captured with it passes
    the same port, which lets it through, by another way (the hardware address, say)."""
    starts, answered = view.column("start_ns"), view.sessions["resp_bytes"]
    return any(starts[k] > since and answered[k] > 0 for k in view.whole)


def _any_server(answer: Answer) -> tuple[str, str]:
    return answer.client, ""


def _one_server(answer: Answer) -> tuple[str, str]:
    return answer.client, answer.server


def _of_answers(view: View) -> list[Finding]:
    """What servers of the protocols in :mod:`netlens.parsers.denials` refuse, by protocol."""
    found = []
    for protocol, answers in grouped((a for a in view.side.capture.denials if a.protocol != DTLS), lambda a: a.protocol).items():
        member = BY_NAME[protocol]
        limited = {(a.client, a.server) for a in answers if a.no == LIMITED}  # said by the client: its limits are its own
        answers = [a for a in answers if a.no != LIMITED and not ((a.server, a.client) in limited and a.no.startswith(member.LAST))]
        last, ordinary = _last_words(answers, member.LAST), _ordinary(answers, member)
        of = grouped(answers, _one_server if member.APART else _any_server)
        unmet = {id(a) for these in of.values() if _challenged_in_vain(these, member.CHALLENGES) for a in these}
        answers = [a for a in answers if not a.no.startswith(member.CHALLENGES) or id(a) in unmet]
        quiet = {id(a) for a in _cured(answers, protocol)} | {id(a) for a in answers if a.no.startswith((NOTHING, FOUND))}
        searched = _of_searches(answers, member.ANEW)
        quiet -= {id(a) for a in searched}
        answers = [a for a in answers if id(a) not in quiet]
        refused = [a for a in answers if a.no not in ("", KNOWN)]
        if not refused:
            continue
        granted = {a.client: a.ts for a in answers if a.no in ("", KNOWN)}  # the last time, by any server
        offers = _ANOTHER_WAY.get(protocol, ("\0",))
        of = grouped((a for a in answers if a.no != KNOWN), _one_server if member.APART else _any_server)
        vain = {id(a) for these in of.values() if _challenged_in_vain(these, offers) and not _goes_on(these, answers) for a in these}
        sought = Counter(a.client for a in searched)
        vain |= {id(a) for a in searched if sought[a.client] >= _SOUGHT_IN_VAIN} | _nothing_else(answers, member)
        hard = [a for a in refused if id(a) not in ordinary and (not a.no.startswith(member.DAILY) or id(a) in vain or id(a) in last)]
        heard = Counter((a.client, a.no) for a in hard if a.no.startswith(member.AGAIN))
        last |= {id(a) for a in hard if heard[a.client, a.no] > 1}
        lasting = [a for a in hard if granted.get(a.server if a.no.endswith(_BY_CLIENT) else a.client, a.ts) <= a.ts or id(a) in last]
        often = [a for a in hard if not (a.no.startswith((NOTHING, *_SOUGHT.get(protocol, ()))) and granted.get(a.client, a.ts) > a.ts)]
        if len(often) >= _OFTEN and len(often) >= member.OFTEN * len(answers):
            lasting = often
        elif member.REPEATED:
            lasting = _but_of_the_last_poll(lasting, answers)
        let_in = protocol == _EAP and _carries(view, max(a.ts for a in refused))
        lasting = [] if let_in else lasting
        named = [a.no for a in refused if not a.no.startswith(member.VAGUE)] or [a.no for a in refused]
        named = [no.removeprefix(f"{NOTHING}: ") if no.endswith("in common") else no for no in named]
        servers = [a.server for a in refused if a.server not in ("0.0.0.0", "::")]  # a DHCP client has no address yet
        text = (
            f"{len(refused):,} of {plural(len(answers), f'{protocol} answer')} {'was a refusal' if len(refused) == 1 else 'were refusals'}"
            f"{f', from {most(servers)}' if servers else ''}: {most(named)}"
            f"{'; connections go on behind the last one all the same' if let_in else ''}."
        )
        values = {"answers": len(answers), "refused": len(refused), "protocols": [protocol], "replies": sorted({a.no for a in refused})}
        advice = (_hint(named, _LOGIN if any(_of_login(a.no) for a in lasting) else "") if lasting else "").replace(
            "{client}", most(a.client for a in refused)
        )
        found.append(finding(view, ID, "problem" if lasting else "warning", text, [a.frame for a in refused], values, advice))
    return found


def of_target(traffic: Traffic) -> list[Finding]:
    """One finding if a request to the target was refused, or stood in a queue instead. ``traffic`` has labels."""
    r = traffic.situation.requests
    refused = r.rejected == REJECTED
    n = int(refused.sum())
    if not n:
        return _queued(traffic)
    weighed = traffic.once(judge).weighed
    named = next((v for v in weighed.verdicts if v.id == weighed.cause), None)
    wanted = next(iter(needed(weighed.verdicts)), "")
    why = named.claim if named else f"To find out why, you need: {wanted}." if wanted else "The cause is unknown."
    if named is None and bool((r.source[refused] == STATUS).all()):
        why = "The server says that they are too many (429)."
        why += f" To find out which limit it keeps, and who reaches it, you need: {wanted}." if wanted else ""
    text = f"{n:,} of {plural(len(r), 'request')} {'was' if n == 1 else 'were'} refused. {why}"
    values = {"requests": len(r), "refused": n, "cause": weighed.cause, "limiter": weighed.limiter}
    severity: Severity = "warning" if n == 1 and n < _FEW_SHARE * len(r) and _granted_again(traffic, refused) else "problem"
    return [_of_requests(traffic, ID, severity, text, refused, values)]


def _granted_again(traffic: Traffic, refused: Bools) -> bool:
    """Whether all requests that were refused were sent again by their client and granted, as Retry-After asks for (RFC 6585 4)."""
    view = next(each for each in views(traffic) if each.name == traffic.upstream.of_log())
    frames, answers = set(_numbers(traffic)[refused].tolist()), view.once(final_answers)
    known = [r for r in answers if r["start_frame"] in frames]
    return len(known) == len(frames) and all(served_later(view, r, answers) for r in known)


def _numbers(traffic: Traffic) -> Array:
    """Frames of requests, in the capture nearest to the provider."""
    r = traffic.situation.requests
    return r.vm_frame if traffic.upstream.name == "vm" else r.host_frame  # of a capture of nobody knows which side as well


def _of_requests(traffic: Traffic, id_: str, severity: Severity, text: str, which: Bools, values: dict[str, Any]) -> Finding:
    """A finding that cites the first requests of ``which`` (bool per request), in the capture nearest to the provider."""
    name = traffic.upstream.of_log()
    frames = [int(f) for f in _numbers(traffic)[which].tolist() if f]
    every = [(name, frame) for frame in frames]
    return Finding(id_, ID, severity, text, every[:FRAMES], frame_filter(frames[:FRAMES]), values, every=every)
