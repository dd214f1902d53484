"""The HTTP API: listener, authentication, error mapping, and one module per resource in ``routes/``.

Handlers return data and raise ``WingsError``; what becomes of both on the wire is decided here once. The
panel's routes join as further tables in ``application.py``; what differs for them (MessagePack, JWTs, CORS)
goes into ``routing.py`` and ``auth.py``, which see every request.
"""
