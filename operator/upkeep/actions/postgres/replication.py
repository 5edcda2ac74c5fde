"""Tells whether standbys follow, and whether a replication slot keeps write-ahead log that nobody fetches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.postgres.activity import demand_sight
from upkeep.actions.postgres.session import Session, session
from upkeep.actions.postgres.thresholds import passed, seconds_in_words
from upkeep.actions.thresholds import Graded

_MEBIBYTE: Final = 1024 * 1024
_LOST: Final = frozenset({"lost", "unreserved"})

_STANDBYS: Final = """
SELECT coalesce(nullif(r.application_name, ''), host(r.client_addr), 'pid ' || r.pid) AS name, r.state,
       coalesce(extract(epoch FROM r.replay_lag), 0)::float8 AS seconds,
       coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                                     ELSE pg_current_wal_lsn() END, r.replay_lsn), 0)::bigint AS bytes
FROM pg_stat_replication r
WHERE r.state <> 'backup'
ORDER BY 1
"""
_SLOTS: Final = """
SELECT s.slot_name AS name, s.active, coalesce(s.wal_status, 'none') AS status,
       coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery()
                                     THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                                     ELSE pg_current_wal_lsn() END, s.restart_lsn), 0)::bigint AS bytes
FROM pg_replication_slots s
ORDER BY s.slot_name
"""
_RECEIVER: Final = """
SELECT EXISTS (SELECT FROM pg_stat_wal_receiver w WHERE w.status = 'streaming') AS streaming,
       pg_is_wal_replay_paused() AS paused,
       CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0)
       END::float8 AS seconds
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standby:
    name: str
    state: str
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    name: str
    active: bool
    status: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receiver:
    streaming: bool
    paused: bool
    seconds: float


class PostgresReplication(Action, Graded):
    """Reports standbys that are missing or behind, and replication slots that keep write-ahead log or have lost it.

    At a standby it reports whether that one itself receives and replays. A server without writes is not behind.
    Locks: none. Privileges: for example `GRANT pg_read_all_stats TO upkeep`, without which the step is unknown. Source
    of the defaults: after 30 s users of a standby see stale data; a slot that keeps a GiB fills a small volume soon.
    """

    action_name: ClassVar[str] = "postgresReplication"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_after", "critical_after")
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.replication.lag": "a standby that is behind",
        "postgres.replication.slot": "a slot that keeps much write-ahead log, or has lost what it needs",
        "postgres.replication.standbys": "fewer standbys than minStandbys stream",
        "postgres.replication.receiver": "this standby does not stream",
        "postgres.replication.paused": "this standby does not replay",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    min_standbys: Annotated[int, Field(ge=0, le=64)] = 0
    """How many standbys must stream from this server."""
    warning_after: Duration = Field(default="30s", validate_default=True)
    """How far a standby is behind when it becomes a warning."""
    critical_after: Duration = Field(default="5m", validate_default=True)
    """How far a standby is behind when it becomes critical."""
    max_retained_mebibytes: Annotated[int, Field(ge=0, le=1_073_741_824)] = 1024
    """How much write-ahead log a slot may keep, in MiB; more is a warning, and critical where nobody reads the slot."""

    async def run(self, context: Context) -> Result:
        """Look once.

        Raises:
            ActionError: no connection.
            UncheckableError: the state of replication is hidden.
        """
        async with session(context, self.connection) as opened:
            await demand_sight(opened)
            standbys = await opened.fetch(_Standby, _STANDBYS)
            slots = await opened.fetch(_Slot, _SLOTS)
            receiver = (await opened.fetch(_Receiver, _RECEIVER))[0] if opened.standby else None
        streaming = [standby for standby in standbys if standby.state == "streaming"]
        candidates = [
            *(self._behind(f"standby {one.name}", one.seconds) for one in standbys),
            *(self._slot(slot) for slot in slots),
            *(self._received(receiver, opened) if receiver else ()),
            self._too_few(len(streaming), opened),
        ]
        lag = max((one.seconds for one in standbys), default=receiver.seconds if receiver else 0.0)
        kept = max((slot.bytes for slot in slots), default=0)
        message = f"{len(streaming)} standbys stream, {seconds_in_words(lag)} behind at most"
        if receiver:
            state = "streams" if receiver.streaming else "does not stream"
            message = f"a standby that {state}, {seconds_in_words(receiver.seconds)} behind"
        return Result(
            outcome=Outcome.OK,
            message=f"{message}; {len(slots)} slots keep {kept / _MEBIBYTE:.0f} MiB at most",
            findings=[finding for finding in candidates if finding is not None],
            metrics={
                "standbys": len(streaming),
                "lag_seconds": round(lag, 3),
                "lag_bytes": max((one.bytes for one in standbys), default=0),
                "slots": len(slots),
                "inactive_slots": sum(not slot.active for slot in slots),
                "retained_bytes": kept,
            },
        )

    def _behind(self, name: str, seconds: float) -> Finding | None:
        reached = passed(seconds, warning=self.warning_after, critical=self.critical_after)
        if reached is None:
            return None
        return Finding(
            check_id="postgres.replication.lag",
            severity=reached.severity,
            object=name,
            observed=round(seconds, 1),
            threshold=reached.threshold,
            unit="seconds",
            recommendation="look for long queries at the standby, its disk and the network between them",
        )

    def _slot(self, slot: _Slot) -> Finding | None:
        limit = self.max_retained_mebibytes * _MEBIBYTE
        if slot.status in _LOST:
            severity, advice = Severity.CRITICAL, "it has lost write-ahead log that it needs: make its reader anew"
        elif slot.bytes > limit:
            severity = Severity.WARNING if slot.active else Severity.CRITICAL
            advice = "let its reader catch up, or drop the slot with pg_drop_replication_slot if it has none any more"
        else:
            return None
        return Finding(
            check_id="postgres.replication.slot",
            severity=severity,
            object=f"slot {slot.name}",
            observed=slot.bytes,
            threshold=limit,
            unit="bytes",
            recommendation=f"{advice}: it is {'read' if slot.active else 'not read'}, its log is {slot.status}",
        )

    def _received(self, receiver: _Receiver, opened: Session) -> Sequence[Finding | None]:
        name = f"standby {opened.server}"
        found = [self._behind(name, receiver.seconds)]
        if not receiver.streaming:
            advice = "it does not stream: check primary_conninfo, and that the primary runs"
            found.append(_broken("receiver", name, advice, Severity.CRITICAL))
        if receiver.paused:
            found.append(_broken("paused", name, "replay is paused: SELECT pg_wal_replay_resume()", Severity.WARNING))
        return found

    def _too_few(self, streaming: int, opened: Session) -> Finding | None:
        if streaming >= self.min_standbys:
            return None
        return Finding(
            check_id="postgres.replication.standbys",
            severity=Severity.CRITICAL,
            object=opened.server,
            observed=streaming,
            threshold=self.min_standbys,
            unit="standbys",
            recommendation="start the standbys that are missing and look into their logs",
        )


def _broken(what: str, name: str, advice: str, severity: Severity) -> Finding:
    return Finding(
        check_id=f"postgres.replication.{what}",
        severity=severity,
        object=name,
        observed=1,
        threshold=1,
        unit="",
        recommendation=advice,
    )
