"""The node agent of a game-server host. ``app.py`` puts it together; ``docs/internals`` says how it is built."""
