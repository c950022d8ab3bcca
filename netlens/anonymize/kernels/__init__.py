"""Compiled code of the anonymiser: bytes of frames in, bytes of the same length out. Nothing here remembers anything between two frames."""
