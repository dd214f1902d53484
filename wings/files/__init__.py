"""The only opener of server files: everything below a server's root is reached through here (P8)."""
