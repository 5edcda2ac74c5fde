"""`python -m demo up | down [--keep-cluster]`."""

import argparse
import sys

from rich.console import Console

from demo.claims import ClaimError
from demo.story import tell, undo
from lab.failure import LabError


def main() -> int:
    """Tell the story, or undo it; the exit code is 0 when every claim held."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("--keep-cluster", action="store_true", help="leave the cluster that the lab built running")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "up":
            tell()
        else:
            undo(keep_cluster=arguments.keep_cluster)
    except (ClaimError, LabError) as problem:
        Console(stderr=True).print(f"\n[bold red]The demo failed.[/] {problem}", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
