"""Writes generated files, or says which of the committed ones no longer follow from the models."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_or_check(arguments: Sequence[str], files: Mapping[str, str]) -> int:
    """Write every file into each of the directories in `arguments`; with `--check`, only compare.

    Returns:
        The exit code: 1 where a check found a difference.
    """
    check = "--check" in arguments
    stale = []
    for directory in (Path(argument) for argument in arguments if argument != "--check"):
        for name, text in files.items():
            path = directory / name
            if path.is_file() and path.read_text() == text:
                continue
            stale.append(path)
            if not check:
                directory.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    if stale and check:
        sys.stderr.write(f"not in sync with the models, run `make generate`: {', '.join(map(str, stale))}\n")
        return 1
    return 0
