"""Recording: starts tcpdump here or on the VM by ssh; all it learns ends as files of a recording.

``command`` builds argument lists and filters (pure); ``recorder`` runs one tcpdump, ``sink`` stores its bytes; ``remote`` is a VM behind ssh;
``facts``, ``sockets`` and ``errorlog`` read what machines say about themselves; ``session`` makes a whole recording of them; ``recording`` is
the folder and its manifest, and the only module that readers of recordings need.
"""
