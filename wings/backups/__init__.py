"""Backups: their life cycle, the storages that hold them, and looking inside.

``service.py`` is the only entry for the outside. ``protocol.py`` says what a storage must do,
``registry.py`` which there are, ``drivers/`` holds one module per storage, ``wrappers/`` what is put
around all of them. How archives look inside is ``wings.archives``; who may be told is not decided here.
"""
