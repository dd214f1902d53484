"""Everything long: queued, limited, watched, cancelled, and remembered across restarts.

``manager`` is the way in; ``schedule`` decides what may run beside what; ``context`` is what the work
itself sees; ``limits`` holds the node's shared rates; ``events`` tells the world.
"""
