"""Recording: starts tcpdump here or on the VM by ssh; all it learns ends as files of a recording.

``command`` builds argument lists and filters (pure); ``recorder`` runs one tcpdump, ``sink`` stores its bytes; ``remote`` is a VM behind ssh;
``machine`` asks a machine for its ``facts``, ``programs`` reads what its programs print; ``sockets`` and ``errorlog`` follow what it says meanwhile;
``session`` makes a whole recording of them; ``doctor`` runs the ``checks``. ``recording`` is the folder and its manifest, and the only module that
readers of recordings need.
"""
