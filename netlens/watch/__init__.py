"""A capture while it goes on: what is open and in flight now, at the end of each second, without building its tables anew.

``book`` keeps connections from the session state, only those that changed; ``counts`` makes numbers at once and maxima of them;
``forget`` takes closed sessions out of the parsers' state, so that a watch may last for days; ``refusals`` collects rejections;
``state`` joins these for one capture; ``board`` for one or two; ``sources`` feeds them from tcpdump or a file; ``screen`` draws.
"""
