"""What an HTTP/2 connection most likely said whose records leave doubts: how many requests, and between which times each began and ended.

Theory of operation
-------------------
1. *A walk* (``walks``, ``steps``). Requests wait, are answered in part, and end. What looks like a request on the client's side begins one, as a rule;
   a burst of Node or curl may hold several. Each record of the server is a piece, an end, or the head of an answer or of two, a short answer, or up to four
   of these: some need a request that waits, others one that is answered in part. All ways through a connection are weighed at once
   (``forward_backward``: sums over what waits and what is answered in part), so what the client's side says and what the server's says correct each
   other. What waits is answered soon: a way that lets requests wait for longer than they do as a rule is less likely.
2. *What records look like* (``talks``, ``model``) is learned (``learning``) from the connections of a capture, for each kind: sizes, times since the
   latest request, the silence behind, and the client's WINDOW_UPDATEs that follow at once (curl sends some as an answer begins). How often records hold
   several short answers is learned, too. If what was learned finds other numbers for connections that were counted without it, it makes no number certain.
3. *The client* is read by what its records may hold (:mod:`netlens.chains.grammar`). How many requests its first write begins, and others, is learned, too:
   by what is answered, and by how long writes are.
4. *WINDOW_UPDATEs* (``updates``) are sent by many servers for each body, one or two, as soon as it is there. Where that is the rule, what is owed is a part
   of what is walked over. Records as short may be heads of answers, too. So may those as long as PING where nobody pinged. RST_STREAM of the client
   (RFC 9113 6.4) is as long as WINDOW_UPDATE: a request ends there, whether it was answered in part or not, and the server may say a little more. How
   often a record of that size is one is learned, apart for those that come at once behind what the server says.
5. *The number of requests* (``numbers``, ``counting``) is told if it is next to certain, with times (``rows``); else as an interval.
6. *An error log* has the line of a refusal right behind its last record, so such a record is hardly a head or a piece
   (:mod:`netlens.lenses.refused.labels`, told before requests are counted).
7. *Whose each answer is* is asked at last, of all that may have been said (``whose``).

Limits: what is not foreseen here (requests that the server resets, what three streams say in one record) makes the number uncertain, as a rule, not wrong.
"""
