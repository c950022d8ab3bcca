"""A capture while it goes on: what is open and in flight now, at the end of each second, without building its tables anew.

replay, live       feed packets: from files by their times, or from tcpdump here and behind ssh
state              one capture: packets in, and at each tick what is open, in flight and refused; forgets what is over
connection_table   connections, brought up to date from the sessions that changed
groups             who is who: target and side of each connection
peaks              the most at once, by second, minute and ever
refusals           lines of the program's log, and what short answers show
view, monitor      one capture, or two with a limit, at one moment;  screen draws it
"""
