"""Chains: from the rows of all vantages to what programs did, on one clock.

Captures are linked (clock, pairing, relays, target), then requests and sessions are rebuilt from them; :mod:`netlens.chains.traffic` is what lenses see.
Reads files only in :mod:`netlens.chains.inputs` and, for the clock, captures a second time.
"""
