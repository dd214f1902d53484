"""The version, alone in its module so that the build can read it without importing the rest."""

VERSION = "1.0.0"
