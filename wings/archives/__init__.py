"""Byte formats of archives: writing, reading, indexing and extracting them.

Synchronous code that runs on the archive thread pool: no asyncio, no configuration, no paths of
servers. Where entries come from (``Source``) and where they go (``Target``) are protocols of
``entry.py`` and ``target.py``; ``wings.files`` implements them beneath a jail.
"""
