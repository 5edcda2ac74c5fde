"""Which version of PostgreSQL's programs is used for a server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from upkeep.actions.backup.programs import ROOT_VARIABLE, MissingProgramsError, newest, programs_for, same_as

Image = Callable[..., Path]


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """Says which versions an image has."""

    def made(*versions: str) -> Path:
        for version in versions:
            directory = tmp_path / version / "bin"
            directory.mkdir(parents=True)
            (directory / "pg_dump").touch()
        return tmp_path

    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return made


@pytest.mark.parametrize(("server", "major"), [(9, 9), (10, 15), (14, 15), (15, 15), (16, 18), (18, 18)])
def test_the_oldest_programs_that_are_not_older_than_the_server_are_used(image: Image, server: int, major: int) -> None:
    root = image("15", "9", "18")
    programs = programs_for(server)
    assert programs.major == major
    assert programs.path("pg_dump") == str(root / str(major) / "bin" / "pg_dump")


def test_a_server_that_is_newer_than_all_programs_is_refused(image: Image) -> None:
    image("15", "16")
    with pytest.raises(MissingProgramsError) as refused:
        programs_for(17)
    assert str(refused.value) == (
        "this image has the programs of PostgreSQL 15, 16, and 17 or newer is needed: use an image that has them "
        "(docs/install)"
    )


def test_files_of_a_server_need_programs_of_the_same_version(image: Image) -> None:
    image("15", "18")
    assert same_as(15).major == 15
    with pytest.raises(MissingProgramsError, match="16 itself is needed"):
        same_as(16)


def test_what_is_no_version_is_none(image: Image) -> None:
    root = image("15", "common")
    (root / "19").mkdir()
    assert newest().major == 15


def test_an_image_without_programs_says_so(image: Image) -> None:
    image()
    with pytest.raises(MissingProgramsError, match="this image has no programs of PostgreSQL: use an image"):
        newest()
