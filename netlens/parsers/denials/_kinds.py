"""What a member of this folder is: a protocol in which a server says no."""

from typing import NamedTuple, Protocol

#: What a client of LDAP says that wants no more than so many entries: then a limit is its own.
LIMITED = "limited by the client"
#: How answers to searches begin. That nothing is there is ordinary, unless it is all that a client hears; neither grants anything.
NOTHING, FOUND = "nothing found", "found"
#: What is asked for is there, so that it is not there no longer counts; whether the client gets it nobody has said yet.
KNOWN = "known"


class At(NamedTuple):
    """Where messages of a protocol are found: what begins at the payload of a datagram or TCP segment that comes from one of these ports."""

    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    mark: int = 0  #: bytes of the message's length that stand before it over TCP (0, 2 or 4; only the lower 24 bits of four are the length)
    either: bool = False  #: also what is sent to these ports
    peers: bool = (
        False  #: both ends have this port: whether a message is a question it says itself (:mod:`netlens.parsers.denials._questions`)
    )
    other_port: bool = False  #: servers answer from another port than they are asked at (UDP)
    within: tuple[int, int] = (-(1 << 62), 1 << 62)  #: over TCP, where in the server's stream a message must begin: from, before
    or_within: tuple[int, int] = (0, 0)  #: another such place
    begins: tuple[int, bytes] = (0, b"")  #: over UDP, whatever the ports: a datagram of this length with these two first bytes
    client: tuple[int, int] = (0, 0)  #: bytes of a message that say who asked, where its address does not: from, before


class Denying(Protocol):
    """A protocol; its docstring names the specification and says which refusals are ordinary."""

    ID: str
    NAME: str
    AT: At
    #: How refusals begin that every network has: programs then go another way. Never a problem.
    DAILY: tuple[str, ...] = ()
    #: Those of them that are a problem if a client hears them again and again as the last that is said on a connection: it came for nothing else.
    LAST: tuple[str, ...] = ()
    #: How refusals begin that nothing granted later makes up for, if a client hears them twice.
    AGAIN: tuple[str, ...] = ()
    #: How answers begin after which a client goes on: those that ask for credentials, or send it to another server. They count where it gets nothing else
    #: (:data:`netlens.lenses.refused.UNMET`).
    CHALLENGES: tuple[str, ...] = ()
    #: Whether each server has something of its own, so that another one makes up for nothing: then challenges, and offers that are not taken, count by server.
    APART: bool = False
    #: How refusals begin that who checks a server may want to hear: a warning where a client hears nothing else from it, at even pauses.
    CHECKS: tuple[str, ...] = ()
    #: How refusals begin by which a server may put off all but one client: a warning while it grants another one something.
    TURNS: tuple[str, ...] = ()
    #: From which share of all answers on refusals are a problem, though something is granted later.
    OFTEN: float = 0.2
    #: How refusals begin that only count if the same question was refused twice, where questions can be read (:mod:`netlens.parsers.denials._questions`).
    REPEATED: tuple[str, ...] = ()
    #: How refusals begin that are about the one thing that was asked for: a warning for a client that hears one, and is granted more on another connection.
    ASIDE: tuple[str, ...] = ()

    #: On how many connections of its own a client must hear that there is nothing for it, and no more, for that to count.
    ANEW: int = 3
    #: How refusals of :attr:`DAILY` begin that are a problem where a client hears nothing else and comes again and again, and after how many tries.
    VAIN: tuple[tuple[str, int], ...] = ()
    #: How refusals begin that say less than others: they are named if there are no others.
    VAGUE: tuple[str, ...] = ()
    #: IDs of protocols that its messages carry: they read those of which it says nothing.
    INSIDE: tuple[str, ...] = ()

    def read(self, message: bytes, length: int, /) -> str | None:
        """What a message says.

        Parameters
        ----------
        message : its first bytes, as far as they were captured and stand in one segment, without its mark.  length : of the payload on the wire, or
            what the mark says.

        Returns
        -------
        str
            the refusal in words, "" if it grants what was asked, None if it is neither or no message of this protocol.

        Raises
        ------
        IndexError
            it ends too early: as None.
        """
