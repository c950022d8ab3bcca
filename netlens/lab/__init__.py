"""The laboratory: the whole situation on one Linux machine, with real parts, so that every cause can be seen, recorded and tested.

Three network namespaces (``topology``) hold the VM, its host and the provider::

    vm 192.168.64.2 --- 192.168.64.1 host 203.0.113.1 --- 203.0.113.10 provider (TLS, HTTP/1.1 and HTTP/2), .53 name server, .80 another site
       program, sshuttle             NAT, sshd, program

    scenario   one TOML file: parameters and expectation      run       builds, records both sides, writes a recording
    rules      what the provider counts and when it refuses    check     a recording against what the server and the programs wrote down
    provider   the server: TLS, streams, refusals; dns, h2     program   the client: titles, keep-alive, retries, aborts; pool, opencode_log
    tunnel     a real sshd and a real sshuttle; fan_out        janitor   removes what a killed run leaves behind

Truth is what the provider and the programs log themselves (``journal``): JSON lines with nanoseconds. No packet leaves the namespaces.
"""
