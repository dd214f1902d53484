"""One module per resource, named as in the URL, each ending in its table of routes."""
