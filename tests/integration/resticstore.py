"""A restic repository as a person with restic sees it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Store:
    """A repository on disk and the file with its password."""

    def __init__(self, path: Path, password_file: Path) -> None:
        self.path = path
        self._password_file = password_file

    @property
    def declared(self) -> dict[str, object]:
        """As a step declares it, with the Secret of the bench."""
        return {"path": str(self.path), "passwordSecretRef": {"name": "repository-secret"}}

    @property
    def environment(self) -> Mapping[str, str]:
        """By which restic finds it."""
        return {
            "RESTIC_REPOSITORY": str(self.path),
            "RESTIC_PASSWORD_FILE": str(self._password_file),
            "RESTIC_CACHE_DIR": str(self.path.parent / "own-cache"),
            "PATH": os.environ["PATH"],
        }

    def restic(self, *arguments: str, directory: Path | None = None) -> str:
        """Run restic, in a directory; it must succeed."""
        done = subprocess.run(
            ["restic", *arguments], env=self.environment, cwd=directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def snapshots(self) -> list[dict[str, Any]]:
        """All snapshots, as restic describes them."""
        found: list[dict[str, Any]] = json.loads(self.restic("snapshots", "--json"))
        return found

    @contextmanager
    def rewritten(self, directory: str) -> Iterator[Path]:
        """A directory of the newest snapshot; what is changed in it makes a newer one of the same host and tags."""
        newest = self.snapshots()[-1]
        tags = [word for tag in newest["tags"] for word in ("--tag", tag)]
        with tempfile.TemporaryDirectory() as name:
            self.restic("restore", "latest", "--target", name)
            yield Path(name) / directory
            self.restic("backup", "--host", newest["hostname"], *tags, directory, directory=Path(name))

    @contextmanager
    def running_backup(self) -> Iterator[None]:
        """A backup that reads a pipe that nobody closes; at the end of the context it is killed."""
        with subprocess.Popen(
            ["restic", "backup", "--stdin"],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield
            finally:
                process.kill()

    def locked(self) -> bool:
        """Whether somebody uses the repository, or did when it was killed; half-written files do not lock it."""
        return any("-tmp-" not in lock.name for lock in (self.path / "locks").glob("*"))
