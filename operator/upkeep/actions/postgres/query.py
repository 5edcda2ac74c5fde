"""Asks the database a question of the team's own and compares the answer with what is expected.

The statement runs as the connection's role, alone, in a transaction that can write nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import LabelName, Rule
from upkeep.actions.postgres.errors import query_error
from upkeep.actions.postgres.session import Session, session

if TYPE_CHECKING:
    from psycopg import Error

_NO_EXPECTATION: Final = "say what is expected: equals, minimum, maximum, minRows or maxRows"
_EXPECTATIONS: Final = ("equals", "minimum", "maximum", "minRows", "maxRows")
_MOST_ROWS: Final = 100_000
_SHOWN_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query returned: the first value of its first row, and how many rows there were."""

    value: Any
    rows: int

    @property
    def text(self) -> str:
        """The value as text."""
        return "NULL" if self.value is None else str(self.value)

    @property
    def shown(self) -> str:
        """The value for people, shortened."""
        text = self.text
        return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"

    @property
    def number(self) -> float | None:
        """The value as a number, if it is one."""
        try:
            return float(self.value)
        except (TypeError, ValueError):
            return None


class PostgresQuery(Action):
    """Runs one SELECT and compares what it returns; a difference is a finding, or a failure with `fails: true`.

    The first column of the first row is the value. The statement runs in a read-only transaction, with the role's own
    search_path. Its value stands in the status: do not select passwords or personal data.
    Locks: what the statement takes, for a SELECT AccessShareLock. Privileges: what the statement needs, for example
    `GRANT SELECT ON public.orders TO upkeep`.
    """

    action_name: ClassVar[str] = "postgresQuery"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {
        "postgres.query": "the answer is not the expected one",
    }

    connection: LabelName
    """Name of a PostgreSQL connection."""
    sql: Annotated[str, Field(min_length=1, max_length=8192)]
    """One SELECT statement."""
    equals: Annotated[str | None, Field(max_length=256)] = None
    """The value, as text, that is expected."""
    minimum: float | None = None
    """The smallest number that is expected."""
    maximum: float | None = None
    """The largest number that is expected."""
    min_rows: Annotated[int | None, Field(ge=0, le=_MOST_ROWS)] = None
    """How many rows are expected at least."""
    max_rows: Annotated[int | None, Field(ge=0, le=_MOST_ROWS)] = None
    """How many rows are expected at most; 0 where every row is a fault."""
    severity: Severity = Severity.WARNING
    """How much a difference matters: info, warning or critical."""
    fails: bool = False
    """Whether a difference lets the step fail, so that a run stops or a window rolls back."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Something must be expected."""
        rule = " || ".join(f"has(self.{name})" for name in _EXPECTATIONS)
        return ({"rule": rule, "message": _NO_EXPECTATION},)

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        expected = (self.equals, self.minimum, self.maximum, self.min_rows, self.max_rows)
        if all(one is None for one in expected):
            raise ValueError(_NO_EXPECTATION)
        return self

    async def run(self, context: Context) -> Result:
        """Ask and compare.

        Raises:
            ActionError: no connection, or the statement failed or is not a single reading one.
        """
        async with session(context, self.connection) as opened:
            answer = await self._ask(opened)
        differences = self._differences(answer)
        metrics: dict[str, float] = {"rows": answer.rows}
        if answer.number is not None:
            metrics["value"] = answer.number
        findings = [
            Finding(
                check_id="postgres.query",
                severity=self.severity,
                object=f"database {opened.database}",
                observed=observed,
                threshold=threshold,
                unit=unit,
                recommendation=f"{what}: look into what the query of this step counts",
            )
            for what, observed, threshold, unit in differences
        ]
        if not differences:
            return Result(outcome=Outcome.OK, message=f"as expected: {answer.shown}", metrics=metrics)
        message = "; ".join(what for what, *_ in differences)
        outcome = Outcome.FAILED if self.fails else Outcome.OK
        return Result(outcome=outcome, message=message, findings=findings, metrics=metrics)

    async def _ask(self, opened: Session) -> Answer:
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        connection = opened.connection
        value, rows = None, 0
        try:
            await connection.execute("BEGIN READ ONLY")
            await connection.execute("SET LOCAL search_path TO DEFAULT")
            async with connection.cursor() as cursor:
                # streamed, so that the answer need not fit into memory; only one statement is taken this way
                async for row in cursor.stream(self.sql.encode()):
                    value = row[0] if rows == 0 and row else value
                    rows += 1
                    if rows > _MOST_ROWS:
                        break
        except psycopg.Error as error:
            raise _refused(error, server=opened.server) from error
        return Answer(value=value, rows=rows)

    def _differences(self, answer: Answer) -> list[tuple[str, float, float, str]]:
        found: list[tuple[str, float, float, str]] = []
        number = answer.number
        if self.equals is not None and answer.text != self.equals:
            found.append((f"the value is {answer.shown}, not {self.equals}", 0, 1, "matches"))
        if self.minimum is not None and (number is None or number < self.minimum):
            found.append((f"the value is {answer.shown}, less than {self.minimum:g}", number or 0, self.minimum, ""))
        if self.maximum is not None and (number is None or number > self.maximum):
            found.append((f"the value is {answer.shown}, more than {self.maximum:g}", number or 0, self.maximum, ""))
        if self.min_rows is not None and answer.rows < self.min_rows:
            found.append((f"{answer.rows} rows, fewer than {self.min_rows}", answer.rows, self.min_rows, "rows"))
        if self.max_rows is not None and answer.rows > self.max_rows:
            found.append((f"{answer.rows} rows, more than {self.max_rows}", answer.rows, self.max_rows, "rows"))
        return found


def _refused(error: "Error", *, server: str) -> ActionError:
    """What to say of a statement that the server did not take."""
    what = error.diag.message_primary or str(error)
    match error.sqlstate:
        case "25006":
            return ActionError(f"PostgreSQL {server}: {what}: this step only reads, write one SELECT")
        case "42601" if "multiple commands" in what:
            return ActionError(f"PostgreSQL {server}: {what}: write one statement, without a second one after `;`")
        case "42501":
            return UncheckableError(f"PostgreSQL {server}: {what}: GRANT SELECT on it to the user of the connection")
        case _ if error.sqlstate is None and "didn't produce a result" in what:
            return ActionError(f"PostgreSQL {server}: the statement returns nothing: write one SELECT")
        case _:
            return query_error(error, server=server)
