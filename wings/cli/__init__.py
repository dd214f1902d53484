"""The command line: one module per group of commands, no logic.

Every command but ``serve`` talks to the running daemon through its HTTP API (``client.py``), so that there is one
owner of jobs and locks. ``output.py`` decides between tables for people and one JSON document for scripts.
"""
