"""Makes `python -m upkeep` the same as the `upkeep` command."""

from upkeep.cli.app import main

if __name__ == "__main__":
    main()
