"""``python -m wings`` and the ``wings`` command."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from wings.cli.main import run  # noqa: PLC0415  # after this module, so that an import error has a traceback

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
