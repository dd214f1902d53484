"""What the daemon needs from the machine it runs on: threads, child processes, systemd, one instance at a time."""
