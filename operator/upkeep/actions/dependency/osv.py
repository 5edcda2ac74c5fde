"""Asks a server that speaks the API of OSV (osv.dev, or a mirror of it) which weaknesses are known of packages.

It learns the names and versions of packages, and nothing else.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from upkeep.actions.contract import Context, Grade, UncheckableError
from upkeep.actions.dependency.cvss import grade
from upkeep.actions.dependency.package import Package
from upkeep.actions.http.answer import Limits, asked
from upkeep.actions.http.session import session
from upkeep.actions.text import readable

if TYPE_CHECKING:
    from httpx import AsyncClient

_BATCH: Final = 1000
"""As many as the API takes at once."""
_PAGES: Final = 50
_AT_ONCE: Final = 8
_SECONDS: Final = 30.0
_LIMITS: Final = Limits(seconds=_SECONDS, size=16 * 1024 * 1024, advice="check url")
_NUMBER: Final = re.compile(r"\d+")
_GITHUB: Final = "GHSA-"
_FIXES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """What is known of one weakness.

    Attributes:
        id: by which it is known best.
        names: all ids, its own among them.
        grade: how bad it is; None where nobody has said.
        score: by CVSS; 0 where nobody has said.
        summary: in a sentence.
        published: when.
        fixes: versions without it, by package.
    """

    id: str
    names: frozenset[str]
    grade: Grade | None
    score: float
    summary: str
    published: datetime | None
    fixes: Mapping[tuple[str, str], Sequence[str]]

    def remedies(self, package: Package) -> Sequence[str]:
        """The versions above the present one that are without it, the lowest first."""
        fixed = self.fixes.get((package.ecosystem.value.lower(), _plain(package)), ())
        later = sorted({each for each in fixed if _key(each) > _key(package.version)}, key=_key)
        return later[:_FIXES]


async def advisories(context: Context, name: str, packages: Sequence[Package]) -> Mapping[Package, Sequence[Advisory]]:
    """What is known of these packages; each weakness once, also where several databases have it.

    Raises:
        ActionError: no such connection or Secret.
        UncheckableError: no answer, or none as OSV gives it.
    """
    async with session(context, name, seconds=_SECONDS) as client:
        server = _Server(name=name, client=client)
        named = await server.query(packages)
        details = await server.details({each for found in named.values() for each in found})
    known = {identifier: _read(name, body) for identifier, body in details.items()}
    return {
        package: list(_distinct([one for each in found if (one := known[each]) is not None]))
        for package, found in named.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    name: str
    client: "AsyncClient"

    async def query(self, packages: Sequence[Package]) -> dict[Package, set[str]]:
        """Ids by package."""
        found: dict[Package, set[str]] = {package: set() for package in packages}
        pending: list[tuple[Package, str]] = [(package, "") for package in packages]
        for _ in range(_PAGES):
            if not pending:
                return found
            following: list[tuple[Package, str]] = []
            for start in range(0, len(pending), _BATCH):
                chosen = pending[start : start + _BATCH]
                following += await self._page(chosen, found)
            pending = following
        msg = f"{self.name!r} has more than {_PAGES} pages of answers: check that it is OSV"
        raise UncheckableError(msg)

    async def _page(
        self, chosen: Sequence[tuple[Package, str]], found: dict[Package, set[str]]
    ) -> list[tuple[Package, str]]:
        queries = [_query(package, page) for package, page in chosen]
        answer = await self._ask("POST", "/v1/querybatch", json={"queries": queries})
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != len(chosen):
            raise self._foreign()
        following = []
        for (package, _), result in zip(chosen, results, strict=True):
            match result:
                case {"vulns": [*listed]}:
                    if not all(isinstance(each, dict) and isinstance(each.get("id"), str) for each in listed):
                        raise self._foreign()
                    found[package] |= {each["id"] for each in listed}
                case {} | None:
                    pass
                case _:
                    raise self._foreign()
            if isinstance(result, dict) and result.get("next_page_token"):
                following.append((package, str(result["next_page_token"])))
        return following

    async def details(self, identifiers: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """The advisories by their id."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(identifier: str) -> tuple[str, Mapping[str, Any]]:
            async with gate:
                found = await self._ask("GET", f"/v1/vulns/{quote(identifier, safe='')}")
            if not isinstance(found, dict) or found.get("id") != identifier:
                raise self._foreign()
            return identifier, found

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(identifier)) for identifier in sorted(identifiers)]
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        return dict(task.result() for task in tasks)

    async def _ask(self, method: str, path: str, **content: Any) -> Any:  # noqa: ANN401 - any JSON value
        answer, body = await asked(self.client, method, path, name=self.name, limits=_LIMITS, **content)
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            msg = f"{self.name!r} has been asked too often (status 429): run this less often, or use a mirror"
            raise UncheckableError(msg)
        if not answer.is_success:
            msg = (
                f"{self.name!r} answers with status {answer.status_code}: check url, and that it speaks the API of OSV"
            )
            raise UncheckableError(msg)
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise self._foreign() from None

    def _foreign(self) -> UncheckableError:
        return _foreign(self.name)


def _foreign(name: str) -> UncheckableError:
    return UncheckableError(f"{name!r} does not answer as OSV does: check url")


def _query(package: Package, page: str) -> Mapping[str, Any]:
    query = {"package": {"name": package.name, "ecosystem": package.ecosystem.value}, "version": package.version}
    return query | ({"page_token": page} if page else {})


def _read(name: str, body: Mapping[str, Any]) -> Advisory | None:
    """The advisory; None where it was withdrawn."""
    if body.get("withdrawn"):
        return None
    try:
        known, score = grade(body)
        published = datetime.fromisoformat(body["published"]) if body.get("published") else None
        aliases = [str(each) for each in body.get("aliases") or ()]
        fixes: dict[tuple[str, str], list[str]] = {}
        for affected in body.get("affected") or ():
            package = affected.get("package") or {}
            place = (str(package.get("ecosystem", "")).lower(), _plain_name(str(package.get("name", ""))))
            fixes.setdefault(place, []).extend(_fixed(affected))
    except (AttributeError, TypeError, ValueError):
        raise _foreign(name) from None
    identifier = str(body["id"])
    text = str(body.get("summary") or body.get("details") or "")
    return Advisory(
        id=identifier,
        names=frozenset({identifier, *aliases}),
        grade=known,
        score=score,
        summary=readable(" ".join(text.split()))[:160],
        published=published if published is None or published.tzinfo else None,
        fixes=fixes,
    )


def _fixed(affected: Mapping[str, Any]) -> Iterator[str]:
    for each in affected.get("ranges") or ():
        if each.get("type") != "GIT":
            yield from (str(event["fixed"]) for event in each.get("events") or () if "fixed" in event)


def _distinct(found: Sequence[Advisory]) -> Iterator[Advisory]:
    """Each weakness once: what shares an id is the same, and the one that is graded tells most."""
    rest = sorted(found, key=lambda each: (each.grade is None, not each.id.startswith(_GITHUB), each.id))
    while rest:
        first, *rest = rest
        names = set(first.names)
        while same := [each for each in rest if names & each.names]:
            names |= {name for each in same for name in each.names}
            rest = [each for each in rest if each not in same]
        yield first


def _plain(package: Package) -> str:
    return _plain_name(package.name)


def _plain_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _key(version: str) -> tuple[int, ...]:
    """By the numbers of a version, which is enough to tell what lies above another."""
    return tuple(int(number) for number in _NUMBER.findall(version.partition("+")[0])[:6])
