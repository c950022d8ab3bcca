"""Captures and recordings about other people: what may be handed to somebody else, and is still analysed to the same verdict.

The folder, in the order in which things depend on each other::

    kernels/prf.py      keyed functions        kernels/mapping.py   addresses' table, hardware addresses, random values, names
    kernels/dns.py      one DNS message        kernels/tls.py       one segment's payload      kernels/checksums.py
    kernels/headers.py  links, tunnels, IP     kernels/icmp.py                                 kernels/frames.py   one frame, one batch
    secret.py           the key and its file   addresses.py         Crypto-PAn
    mapper.py           all maps of one run    streams.py           what is spread over several frames
    captures.py         file to file           recordings.py        folder to folder
    texts.py            what programs print

What stays, what is hidden, and what can still be learned from the result stands in docs/explanation/anonymising.md.
"""
