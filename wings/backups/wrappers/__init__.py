"""What is put around every driver or its streams, written once: limits, logging with metrics."""
