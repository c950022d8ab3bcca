"""Captures that one machine does not hold, or not soon enough: the same kernels under Dask, and the same rows.

The folder, in the order in which things depend on each other::

    sources.py   names, folders, globs and URLs to files in order; reads a URL as if it were a file
    rows.py      what travels between files; keys.py and fragments.py, what the plan needs of one
    scan.py      one file read on its own, where it lies: its state, and what another file may need of it
    plan.py      which connections lie in more than one file (pure arithmetic on hashes)
    stitch.py    folds those connections from their rows, in order, in the file where they begin
    job.py       the steps in order, on anything that can run a function; numbers and tables of the whole
    workers.py   runs them on Dask's workers: a local cluster, or a scheduler's

Theory of operation
-------------------
1. *scan*: each file is read as if nothing came before it. What it says of a connection is final unless packets of that connection lie in another
   file too, or a session there could be its redirect half.
2. *plan*: per session 33 bytes come together, mostly two hashes. Sessions of one 5-tuple in two files are one connection, unless the later file
   begins with a SYN that opens a new session whatever came before. Equal hashes of different connections make more work and no other rows.
3. *stitch*: the packet rows of such connections, 64 bytes each, go to the file in which the connection begins, and are folded there in the order
   of the capture by the kernels that fold all others; with them goes payload only where a ClientHello may lie. Nothing else moves: no packet, and
   no state of a connection that lies in one file.
4. Numbers (session_id, exchange_id) are ranks of first frames, of which each file sends 8 bytes a row. Rows are made and written where they are.

What is joined over the whole capture by its nature (copies behind NAT, tunnels, questions asked again) is joined in one place, from states.

Every step is a function of a file's name and of small arrays, so what a lost worker had made is made again. Limits: docs/scale.md.
"""
