"""What a task remembers of its steps from run to run: ages of findings, patch deadlines, and what actions left."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unit.domain.cluster import BAD, at, minutes, said
from unit.domain.findings import finding, last_words, step_report
from unit.domain.garbage import spoilt
from unit.domain.taskworld import TaskWorld
from upkeep.actions.contract import Finding, Grade, Outcome, Previous, Severity
from upkeep.api.task import TaskStatus
from upkeep.domain.order import RunOrder
from upkeep.domain.report import StepReport
from upkeep.domain.sighting import MOST

STEPS = {"job": None, "steps": [{"name": "scan", "httpCheck": {"url": "http://shop"}}]}
WEAK = finding("CVE-1", severity=Severity.CRITICAL, grade=Grade.CRITICAL)
SLOW = finding("orders")
KNOWN = [
    {
        "step": "scan",
        "action": "httpCheck",
        "time": "2026-03-02T00:10:00Z",
        "values": {"size": "12"},
        "findings": [{"fingerprint": "a1b2c3d4", "firstSeen": "2026-03-01T00:10:00Z", "due": "2026-03-02T00:20:00Z"}],
    }
]


def world(**spec: object) -> TaskWorld:
    made = TaskWorld(now=at("00:30"), takes=None)
    made.edit(**{**STEPS, **spec})
    return made


def run(world: TaskWorld, *steps: StepReport, findings: tuple[Finding, ...] = (), words: str | None = None) -> None:
    """One run by hand that takes a minute and says this."""
    world.ask(f"token-{world.now.isoformat()}")
    world.act()
    world.now += minutes(1)
    for name in world.jobs.active:
        world.jobs.end(name, world.now, message=words or last_words(steps, findings))
    world.act()


def scanned(world: TaskWorld, *findings: Finding, outcome: Outcome = Outcome.OK) -> None:
    run(world, step_report(*findings, outcome=outcome), findings=findings)


def ages(world: TaskWorld) -> dict[str, str]:
    """Fingerprint → when it was first seen, as hh:mm."""
    entries = world.status.get("memory", [])
    found = [age for entry in entries for age in entry.get("findings", [])]
    return {age["fingerprint"]: age["firstSeen"][11:16] for age in found}


def told(world: TaskWorld) -> dict[str, tuple[str, str]]:
    """Object → first seen and due, as `lastRun` shows them."""
    found = world.status["lastRun"].get("findings", [])
    return {each["object"]: (each["firstSeen"][11:16], each.get("due", "")) for each in found}


def previous(world: TaskWorld, number: int = -1) -> list[Previous | None]:
    """What the steps of a run were told; by default of the last one."""
    order = world.started[number][1].work.content
    assert isinstance(order, RunOrder)
    return [step.previous for step in RunOrder.decode(order.encode()).steps]


class TestAges:
    def test_a_finding_keeps_its_age_from_run_to_run(self) -> None:
        task = world()
        scanned(task, SLOW)
        task.sleep(minutes(29))

        scanned(task, SLOW, finding("users"))

        assert told(task) == {"orders": ("00:31", ""), "users": ("01:01", "")}

    def test_one_that_is_not_seen_any_more_is_gone_and_comes_back_young(self) -> None:
        task = world()
        scanned(task, SLOW)
        scanned(task)
        assert ages(task) == {}

        scanned(task, SLOW)

        assert told(task) == {"orders": ("00:33", "")}

    @pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.FAILED, Outcome.SKIPPED])
    def test_a_step_without_a_result_takes_nothing_away(self, outcome: Outcome) -> None:
        task = world()
        scanned(task, SLOW)
        scanned(task, outcome=outcome)
        assert ages(task) == {SLOW.fingerprint: "00:31"}

        scanned(task, SLOW)

        assert told(task) == {"orders": ("00:31", "")}

    def test_what_it_saw_all_the_same_counts_from_then(self) -> None:
        task = world()
        scanned(task, SLOW, outcome=Outcome.UNKNOWN)
        scanned(task, SLOW)

        assert told(task) == {"orders": ("00:31", "")}

    @pytest.mark.parametrize("words", [BAD, "killed", '{"outcome":"failed"}'])
    def test_a_run_that_says_nothing_of_its_steps_takes_nothing_away(self, words: str) -> None:
        task = world()
        scanned(task, SLOW)
        run(task, words=words)

        assert ages(task) == {SLOW.fingerprint: "00:31"}

    def test_beyond_what_is_kept_the_ages_of_the_worst_stay(self) -> None:
        task = world()
        many = [finding(f"table_{number:03}", observed=1000 - number) for number in range(MOST + 6)]
        scanned(task, *many)
        assert len(ages(task)) == MOST
        worse = [finding(f"worse_{number}", observed=5000) for number in range(4)]

        scanned(task, *worse, *many)

        kept = ages(task)
        assert len(kept) == MOST
        assert {kept[each.fingerprint] for each in worse} == {"00:32"}
        assert {kept[each.fingerprint] for each in many[: MOST - 4]} == {"00:31"}

    def test_one_that_falls_out_of_a_cut_list_keeps_its_age_as_long_as_there_is_room(self) -> None:
        task = world()
        scanned(task, SLOW)
        cut = step_report(finding("users")).model_copy(update={"findings": 70})
        run(task, cut)

        scanned(task, SLOW)

        assert told(task) == {"orders": ("00:31", "")}

    def test_two_steps_that_see_the_same_have_ages_of_their_own(self) -> None:
        task = world()
        task.edit(steps=[{"name": name, "httpCheck": {"url": "http://shop"}} for name in ("scan", "other")])
        run(task, step_report(SLOW), step_report(step="other"))
        run(task, step_report(), step_report(SLOW, step="other"), findings=(SLOW,))

        assert told(task) == {"orders": ("00:32", "")}

    def test_of_two_runs_at_once_the_one_that_ended_last_counts(self) -> None:
        task = world(concurrencyPolicy="Allow")
        for token in ("first", "second"):
            task.ask(token)
            task.act()
        first, second = (start.name for _, start in task.started)
        task.jobs.end(second, at("01:00"), message=last_words([step_report(SLOW, memory={"n": "2"})], [SLOW]))
        task.act()
        task.jobs.end(first, at("00:59"), message=last_words([step_report(memory={"n": "1"})]))

        task.act()

        assert task.status["memory"][0]["values"] == {"n": "2"}
        assert ages(task) == {SLOW.fingerprint: "01:00"}


class TestDeadlines:
    def test_by_default_critical_has_a_day_and_high_a_week(self) -> None:
        task = world()
        scanned(task, WEAK, finding("CVE-2", grade=Grade.HIGH), finding("CVE-3", grade=Grade.MEDIUM))

        assert {name: due for name, (_, due) in told(task).items()} == {
            "CVE-1": "2026-03-03T00:31:00Z",
            "CVE-2": "2026-03-09T00:31:00Z",
            "CVE-3": "",
        }

    def test_the_time_counts_from_the_publication_where_it_is_known(self) -> None:
        task = world(patchDeadlines={"medium": "30d"})
        scanned(task, finding("CVE-3", grade=Grade.MEDIUM, since=at("00:00") - timedelta(days=10)))

        assert told(task) == {"CVE-3": ("00:31", "2026-03-22T00:00:00Z")}

    def test_what_becomes_overdue_is_told_when_it_does_and_once(self) -> None:
        task = world()
        scanned(task, WEAK)
        assert task.wake_at == at("00:31") + timedelta(days=1)
        assert "overdueFindings" not in task.status

        task.wait(timedelta(days=2))
        task.act()

        assert task.status["overdueFindings"] == 1
        (message,) = said(task.events, "PatchOverdue")
        assert message == (
            "1 more past the patch deadline, 1 in all: CVE-1 (due 2026-03-03T00:31:00Z); "
            "patch them, then run the task again"
        )
        (ready,) = (each for each in task.status["conditions"] if each["type"] == "Ready")
        assert ready["message"].endswith("; past the patch deadline: 1")

    def test_it_stays_overdue_without_a_word_until_a_run_does_not_see_it(self) -> None:
        task = world()
        scanned(task, WEAK)
        task.wait(timedelta(days=2))
        scanned(task, WEAK)
        scanned(task, outcome=Outcome.UNKNOWN)
        assert (task.status["overdueFindings"], len(said(task.events, "PatchOverdue"))) == (1, 1)

        scanned(task)

        assert "overdueFindings" not in task.status

    def test_one_that_is_old_when_it_is_found_is_overdue_at_once(self) -> None:
        task = world()
        scanned(task, finding("CVE-9", grade=Grade.HIGH, since=at("00:00") - timedelta(days=30)))

        assert task.status["overdueFindings"] == 1
        assert said(task.events, "PatchOverdue")

    def test_another_deadline_counts_from_the_next_run_on(self) -> None:
        task = world()
        scanned(task, WEAK)
        task.wait(timedelta(days=2))
        task.edit(patchDeadlines={"critical": "7d"})

        scanned(task, WEAK)

        assert "overdueFindings" not in task.status
        assert told(task)["CVE-1"] == ("00:31", "2026-03-09T00:31:00Z")

    def test_one_whose_list_was_cut_is_not_called_overdue_when_nobody_saw_it(self) -> None:
        task = world()
        scanned(task, WEAK)
        run(task, step_report(finding("users")).model_copy(update={"findings": 70}))

        task.wait(timedelta(days=2))

        assert "overdueFindings" not in task.status
        assert ages(task)[WEAK.fingerprint] == "00:31"

    def test_a_spec_that_cannot_be_read_changes_no_deadline(self) -> None:
        task = world()
        scanned(task, WEAK)
        task.ask("again")
        task.act()
        task.edit(patchDeadlines={"critical": "soon"})
        task.jobs.end(task.jobs.active[0], at("00:40"), message=last_words([step_report(WEAK)], [WEAK]))

        task.wait(timedelta(days=2))

        assert task.status["phase"] == "Invalid"
        assert task.status["overdueFindings"] == 1


class TestValues:
    def test_the_next_run_is_told_what_the_last_one_left(self) -> None:
        task = world()
        run(task, step_report(memory={"size": "12", "table": "ä $(HOME)"}))

        run(task, step_report())

        assert previous(task, 0) == [None]
        assert previous(task) == [Previous(time=at("00:31"), values={"size": "12", "table": "ä $(HOME)"})]

    @pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.FAILED, Outcome.SKIPPED])
    def test_a_step_without_a_result_leaves_what_was_there(self, outcome: Outcome) -> None:
        task = world()
        run(task, step_report(memory={"size": "12"}))
        run(task, step_report(memory={"size": "0"}, outcome=outcome))

        run(task, step_report())

        assert previous(task) == [Previous(time=at("00:31"), values={"size": "12"})]

    def test_what_a_step_does_not_leave_again_is_forgotten(self) -> None:
        task = world()
        run(task, step_report(memory={"size": "12"}))
        run(task, step_report())

        run(task, step_report())

        assert previous(task) == [None]

    @pytest.mark.parametrize(
        "steps",
        [
            [{"name": "renamed", "httpCheck": {"url": "http://shop"}}],
            [{"name": "scan", "tcpCheck": {"host": "shop", "port": 80}}],
        ],
    )
    def test_a_step_that_becomes_another_starts_anew(self, steps: list[dict[str, Any]]) -> None:
        task = world()
        run(task, step_report(SLOW, memory={"size": "12"}))
        task.edit(steps=steps)
        task.act()
        assert "memory" not in task.status
        task.edit(**STEPS)

        run(task, step_report())

        assert previous(task) == [None]

    def test_other_parameters_of_a_step_leave_its_memory(self) -> None:
        task = world()
        run(task, step_report(memory={"size": "12"}))
        task.edit(steps=[{"name": "scan", "httpCheck": {"url": "http://shop/healthz"}}])

        run(task, step_report())

        assert previous(task) == [Previous(time=at("00:31"), values={"size": "12"})]

    def test_a_spec_that_cannot_be_read_for_a_while_forgets_nothing(self) -> None:
        task = world()
        run(task, step_report(SLOW, memory={"size": "12"}))
        before = task.status["memory"]
        task.edit(timeout="soon")
        task.act()

        assert task.status["memory"] == before

    def test_a_retried_job_is_told_the_same_and_its_last_words_count(self) -> None:
        task = world(retries=2)
        run(task, step_report(memory={"size": "12"}))
        task.ask("again")
        task.act()
        (name,) = task.jobs.active

        task.jobs.end(name, at("00:40"), message=last_words([step_report(memory={"size": "13"})]))
        task.act()

        assert task.status["memory"][0]["values"] == {"size": "13"}
        assert previous(task) == [Previous(time=at("00:31"), values={"size": "12"})]


class TestLostStatuses:
    def test_a_write_that_is_lost_is_made_again_the_same(self) -> None:
        task = world()
        run(task, step_report(SLOW, memory={"size": "12"}), findings=(SLOW,))
        task.ask("again")
        task.act()
        task.jobs.end(task.jobs.active[0], at("00:40"), message=last_words([step_report(SLOW, WEAK)], [SLOW, WEAK]))
        lost = task.act(lose_status=True).status
        task.now += timedelta(seconds=30)

        kept = task.act().status

        assert lost.memory == kept.memory  # type: ignore[attr-defined]

    def test_the_jobs_that_are_there_give_back_what_a_lost_status_knew(self) -> None:
        task = world()
        run(task, step_report(SLOW, memory={"size": "12"}), findings=(SLOW,))
        run(task, step_report(SLOW, WEAK, memory={"size": "13"}), findings=(SLOW, WEAK))
        before = task.status["memory"]
        task.task["status"] = {}

        task.act()

        assert task.status["memory"] == before

    def test_what_somebody_wrote_into_it_is_left_out_alone(self) -> None:
        task = world()
        run(task, step_report(SLOW, memory={"size": "12"}))
        task.status["memory"].append({"step": "scan", "action": 5})
        task.status["memory"].append({"step": "other", "action": "x", "time": "2026-03-02T00:31:00Z", "findings": 7})

        task.act()

        assert [entry["values"] for entry in task.status["memory"]] == [{"size": "12"}]
        assert said(task.events, "StatusUnreadable")

    def test_a_container_that_claims_to_be_a_step_leaves_nothing(self) -> None:
        task = world(steps=None, job={"image": "localhost/work"})
        run(task, step_report(SLOW, memory={"size": "12"}), findings=(SLOW,))

        assert "memory" not in task.status

    @settings(max_examples=100, deadline=None)
    @given(
        memory=spoilt(KNOWN),
        seen=st.text() | st.just("a1b2c3d4c"),
        left=st.dictionaries(st.text(), st.text(), max_size=3),
    )
    def test_whatever_is_remembered_and_said_a_decision_comes_of_it(
        self,
        memory: Any,  # noqa: ANN401 - any JSON value
        seen: str,
        left: dict[str, str],
    ) -> None:
        task = world()
        task.act()
        task.status["memory"] = memory
        said_by_pod = step_report().model_copy(update={"seen": seen, "findings": -5, "memory": left})

        run(task, said_by_pod)

        assert TaskStatus.model_validate(task.status).last_run

    @pytest.mark.parametrize("year", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z"])
    def test_an_age_that_nobody_can_have_has_no_deadline(self, year: str) -> None:
        task = world()
        task.act()
        task.status["memory"] = [KNOWN[0] | {"findings": [{"fingerprint": WEAK.fingerprint, "firstSeen": year}]}]

        scanned(task, WEAK)

        assert "overdueFindings" not in task.status or year.startswith("0001")
