"""The configuration: what can be set, reading and writing it, and where it is.

``models`` has every key; ``locate.open_config`` is how the daemon and the command line get theirs.
"""
