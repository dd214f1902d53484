"""What the daemon tells about itself: logs without secrets, metrics, and whether its event loop turns."""
