"""The laboratory: the whole situation on one Linux machine, with real parts, so that every cause can be seen, recorded and tested.

Three network namespaces (``topology``) hold the VM, its host and the provider::

    vm 192.168.64.2 --- 192.168.64.1 host 203.0.113.1 --- 203.0.113.10 provider (TLS, HTTP/1.1 and HTTP/2), .53 name server, .80 another site
       program, sshuttle             NAT, sshd, program

    scenarios/   one TOML file each: parameters, expectation   run       builds, records both sides, writes a recording
    provider/    the server; limiters/: when it refuses        check/    a recording against what the server and the programs wrote down
    programs/    the clients, one kind a file                  janitor   removes what a killed run leaves behind
    relays/      what stands between, one kind a file          clock     a VM whose clock is wrong

A new scenario, limiter, program or relay is one new file: it is found in its folder and checked when it is loaded.
Truth is what the provider and the programs log themselves (``journal``): JSON lines with nanoseconds. No packet leaves the namespaces.
"""
