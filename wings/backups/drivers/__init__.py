"""One module per storage, each implementing ``wings.backups.protocol.BackupDriver``.

A driver passes ``tests/conformance`` or does not exist. It reads a server only through ``BackupSource``
and writes one only through ``RestoreTarget``.
"""
