"""A stand-in for the provider: TLS, HTTP/1.1 keep-alive and HTTP/2, streamed answers as server-sent events, refusals as z.ai words them.

    api         what requests and answers hold          limiters    when a request is refused: one kind of limit a file
    exchange    one request and its answer              admission   asks the limiters and keeps what is held
    server      accepts, reads HTTP/1.1; http2          observer    writes down when FINs and RSTs arrive
    dns         the name server                         certificate

Events of the journal: ``accept``, ``request`` (received in full: what others held, whether it was refused), ``answer`` (first byte sent),
``done`` (last byte sent, or the write that failed), ``fin_in``, ``reset``, ``fin_out``, ``lookup`` (see dns). A connection is over at
its reset, or when both FINs have passed.
"""
