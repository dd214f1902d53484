"""The daemon's memory: one SQLite file with jobs, the catalogue of backups, and registered servers.

An index, never the only copy of what restores a backup: with the file deleted, backups are found again
from their storages.
"""
