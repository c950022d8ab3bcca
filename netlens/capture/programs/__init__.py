"""What a system's own programs print, as rows: one kind of fact a file.

Pure: text in, rows out; nothing is started here. A line that is not understood is left out, never guessed at, because the text comes from programs of
many versions and, over ssh, from another machine. No function raises on any text.

Limits: programs show other users' sockets without a name unless they run as root, and rules not at all. An empty result therefore means "nothing shown";
whether there is nothing is told by the program's exit status.
"""
