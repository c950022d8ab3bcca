"""Faults, injected many times into real recordings and analyses: ``python -m tests.faults``; it writes docs/reliability.md.

ground.py    network namespaces, a traffic source whose packets are numbered, a real sshd, small disks, a running ``netlens capture``
cases.py     one function a fault: make it happen, then look at what is left
__main__.py  runs them, many at a time, and writes the table

Needs root on Linux, ip, tcpdump and sshd.
"""
