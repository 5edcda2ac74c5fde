"""What is seen of a run in its Job and its Pods."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings

from unit.domain.cluster import at
from unit.domain.garbage import values
from upkeep.actions.contract import Outcome
from upkeep.api.status import Trigger
from upkeep.domain.instants import write_instant
from upkeep.domain.run import Run, RunState, observe

CREATED = at("01:00")
ENDED = at("01:05")
REPORT = '{"outcome":"changed","message":"tidied","steps":[{"name":"a","action":"x","outcome":"changed","seconds":2}]}'


def job(*conditions: str, reason: str = "", message: str = "", **status: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    found = [
        {
            "type": each,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": write_instant(ENDED),
        }
        for each in conditions
    ]
    return {
        "metadata": {
            "name": "nightly-1",
            "uid": "u1",
            "creationTimestamp": write_instant(CREATED),
            "labels": {"upkeep.dev/owner-uid": "o1"},
            "annotations": {"upkeep.dev/trigger": "Schedule", "upkeep.dev/scheduled-time": "2026-03-02T01:00:00Z"},
        },
        "status": {"startTime": write_instant(CREATED), "conditions": found, **status},
    }


def pod(
    *,
    name: str = "p1",
    created: datetime = CREATED,
    end: dict[str, Any] | None = None,
    waiting: dict[str, Any] | None = None,
    before: tuple[dict[str, Any], ...] = (),
    **status: Any,  # noqa: ANN401 - any JSON value
) -> dict[str, Any]:
    state = {"terminated": end} if end else {"waiting": waiting} if waiting else {"running": {}}
    containers = [*before, {"name": "run", "image": "shop/tool:1", "state": state}]
    return {
        "metadata": {"name": name, "creationTimestamp": write_instant(created)},
        "status": {"containerStatuses": containers, **status},
    }


def done(message: str = "", code: int = 0, reason: str = "Completed") -> dict[str, Any]:
    return {"exitCode": code, "reason": reason, "message": message}


class TestStates:
    def test_a_job_without_an_end_runs(self) -> None:
        run = observe(job(active=1), [pod()])

        assert (run.state, run.active, run.outcome, run.settled) == (RunState.RUNNING, True, None, False)

    def test_a_condition_that_is_not_true_says_nothing(self) -> None:
        unfinished = job("Complete")
        unfinished["status"]["conditions"][0]["status"] = "False"

        assert observe(unfinished, []).active

    def test_a_complete_job_with_a_report_is_as_good_as_its_report(self) -> None:
        run = observe(
            job("SuccessCriteriaMet", "Complete", completionTime="2026-03-02T01:04:58Z"), [pod(end=done(REPORT))]
        )

        assert (run.outcome, run.message, run.settled) == (Outcome.CHANGED, "tidied", True)
        assert run.finished == at("01:04:58")

    def test_a_complete_job_of_a_foreign_container_went_well(self) -> None:
        run = observe(job("Complete"), [pod(end=done("all 17 rows\nmoved"))])

        assert (run.outcome, run.message) == (Outcome.OK, "moved")

    def test_a_failed_job_is_never_better_than_failed_whatever_it_said_before(self) -> None:
        run = observe(job("Failed", reason="BackoffLimitExceeded", failed=1), [pod(end=done(REPORT, code=137))])

        assert (run.outcome, run.message) == (Outcome.FAILED, "exit code 137")

    def test_a_failed_job_may_be_unknown(self) -> None:
        report = '{"outcome":"unknown","message":"no privilege"}'

        run = observe(job("Failed", failed=1), [pod(end=done(report, code=2, reason="Error"))])

        assert (run.outcome, run.message) == (Outcome.UNKNOWN, "no privilege")


class TestLastWords:
    @pytest.mark.parametrize(
        ("conditions", "pods", "words"),
        [
            pytest.param(
                {"reason": "DeadlineExceeded", "failed": 1},
                [],
                "it took longer than its timeout and was stopped",
                id="deadline",
            ),
            pytest.param(
                {"reason": "DeadlineExceeded"},
                [],
                "no Pod of it was admitted before its timeout: a ServiceAccount that does not exist, a quota or a "
                "policy is in the way; `kubectl describe job nightly-1` tells which",
                id="never admitted",
            ),
            pytest.param(
                {"reason": "BackoffLimitExceeded", "failed": 1},
                [pod(end=done(code=137, reason="OOMKilled"))],
                "it ran out of memory and was killed: raise its memory limit",
                id="out of memory",
            ),
            pytest.param(
                {"reason": "BackoffLimitExceeded", "failed": 1},
                [pod(reason="Evicted", message="low on memory", phase="Failed")],
                "its Pod was evicted: low on memory",
                id="evicted",
            ),
            pytest.param(
                {"reason": "PodFailurePolicy", "message": "Pod shop/p has condition DisruptionTarget"},
                [],
                "its Pod was evicted, as those of a drained node are: nothing of it goes on; run it again",
                id="drained",
            ),
            pytest.param(
                {"reason": "BackoffLimitExceeded", "failed": 1},
                [pod(end=done("copying\ncp: no such file\n", code=1, reason="Error"))],
                "exit code 1: cp: no such file",
                id="foreign container",
            ),
            pytest.param(
                {"reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"},
                [],
                "Job has reached the specified backoff limit",
                id="Pod gone",
            ),
            pytest.param({}, [], "its Job failed, and its Pod is gone", id="Pod gone without a word"),
        ],
    )
    def test_a_failure_is_told_in_words(self, conditions: dict[str, Any], pods: list[Any], words: str) -> None:
        run = observe(job("Failed", **conditions), pods)

        assert (run.outcome, run.message) == (Outcome.FAILED, words)

    @pytest.mark.parametrize(("kind", "advice"), [("BackupPolicy", ": raise scratchSize"), ("MaintenanceTask", "")])
    def test_a_full_scratch_volume_names_the_field_that_makes_it_larger(self, kind: str, advice: str) -> None:
        failed = job("Failed", reason="PodFailurePolicy", failed=1)
        failed["metadata"]["ownerReferences"] = [{"kind": kind}]
        why = 'Usage of EmptyDir volume "output" exceeds the limit "1Gi"'

        run = observe(failed, [pod(reason="Evicted", message=f"{why}. ", phase="Failed")])

        assert run.message == f"its Pod was evicted: {why}{advice}"

    def test_an_evicted_pod_will_say_nothing_more(self) -> None:
        evicted = {
            "metadata": {"name": "p", "creationTimestamp": write_instant(CREATED)},
            "status": {"phase": "Failed"},
        }

        assert observe(job("Failed", failed=1), [evicted]).settled

    @settings(max_examples=100)
    @given(said=values)
    def test_a_termination_message_can_be_anything(self, said: object) -> None:
        for code in (0, 1):
            run = observe(
                job("Complete" if code == 0 else "Failed", failed=code), [pod(end=done(str(said), code=code))]
            )
            assert run.record().outcome is run.summary().outcome is not None

    def test_numbers_that_are_none_are_shown_as_what_they_are(self) -> None:
        finding = '{"checkId":"a","severity":"info","object":"o","observed":Infinity,"threshold":NaN,"fingerprint":"f"}'
        report = f'{{"outcome":"ok","findings":[{finding}],"counts":{{"info":1}}}}'

        (found,) = observe(job("Complete"), [pod(end=done(report))]).summary().findings

        assert (found.observed, found.threshold) == ("inf", "nan")


class TestSeveralPods:
    def test_the_newest_counts(self) -> None:
        older = pod(name="z", end=done('{"outcome":"failed","message":"first"}', code=1))
        newer = pod(name="a", created=at("01:02"), end=done('{"outcome":"failed","message":"second"}', code=1))

        assert observe(job("Failed", failed=2), [newer, older]).message == "second"

    def test_the_failure_of_an_earlier_attempt_is_not_taken_for_the_end_of_a_complete_job(self) -> None:
        failed = pod(end=done('{"outcome":"failed","message":"first"}', code=1))

        run = observe(job("Complete"), [failed])

        assert (run.outcome, run.message, run.settled) == (Outcome.OK, "", False)

    def test_a_failed_job_waits_for_the_last_of_its_pods(self) -> None:
        first = pod(end=done('{"outcome":"failed","message":"first"}', code=1))

        assert not observe(job("Failed", failed=2), [first]).settled

    def test_what_an_injected_sidecar_says_is_not_the_end_of_the_run(self) -> None:
        sidecar = {"name": "istio-proxy", "image": "istio", "state": {"terminated": done("bye", code=1)}}

        ended = observe(job("Complete"), [pod(end=done(REPORT), before=(sidecar,))])
        running = observe(job(), [pod(before=(sidecar,))])

        assert (ended.message, ended.settled) == ("tidied", True)
        assert not running.settled


class TestTrouble:
    @pytest.mark.parametrize(
        ("waiting", "reason"),
        [
            ({"reason": "ErrImagePull", "message": "not found"}, "ImagePullFailed"),
            ({"reason": "ImagePullBackOff", "message": "not found"}, "ImagePullFailed"),
            ({"reason": "InvalidImageName", "message": "not found"}, "ImagePullFailed"),
            ({"reason": "CreateContainerConfigError", "message": "not found"}, "ContainerConfigError"),
            ({"reason": "RunContainerError", "message": "not found"}, "ContainerError"),
        ],
    )
    def test_a_container_that_does_not_start_is_trouble(self, waiting: dict[str, str], reason: str) -> None:
        trouble = observe(job(), [pod(waiting=waiting)]).trouble

        assert trouble is not None
        assert (trouble.reason, trouble.message) == (reason, "shop/tool:1: not found")

    def test_a_container_that_is_only_being_made_is_none(self) -> None:
        assert observe(job(), [pod(waiting={"reason": "ContainerCreating"})]).trouble is None

    def test_a_pod_that_no_node_can_run_is_trouble(self) -> None:
        unscheduled = {
            "type": "PodScheduled",
            "status": "False",
            "message": "0/3 nodes are available: insufficient memory.",
        }

        trouble = observe(job(), [pod(containerStatuses=[], conditions=[unscheduled])]).trouble

        assert trouble is not None
        assert (trouble.reason, trouble.message) == ("Unschedulable", unscheduled["message"])

    def test_a_job_of_which_no_pod_is_admitted_is_in_trouble(self) -> None:
        refused, young = observe(job(), []).trouble, observe(job(active=1), []).trouble

        assert refused is not None
        assert refused.reason == "PodRefused"
        assert young is None

    def test_once_the_job_has_ended_there_is_no_trouble_any_more(self) -> None:
        assert observe(job("Failed"), [pod(waiting={"reason": "ErrImagePull"})]).trouble is None


class TestOccasions:
    def seen(self, **annotations: str) -> Run:
        made = job()
        made["metadata"]["annotations"] = {
            f"upkeep.dev/{key.replace('_', '-')}": text for key, text in annotations.items()
        }
        return observe(made, [])

    def test_the_occasion_is_read_back_from_the_annotations(self) -> None:
        occasion = self.seen(trigger="Window", scheduled_time="2026-03-02T01:00:00Z", schedule="verify").occasion

        assert (occasion.trigger, occasion.scheduled, occasion.schedule) == (Trigger.WINDOW, CREATED, "verify")

    @pytest.mark.parametrize("annotations", [{"trigger": "Whim"}, {"scheduled_time": "some day"}])
    def test_a_job_that_says_what_upkeep_never_would_is_not_one_of_its_own(self, annotations: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=r"Whim|some day"):
            self.seen(**annotations)

    def test_a_job_without_annotations_is_for_nothing_that_is_known(self) -> None:
        bare = job()
        del bare["metadata"]["annotations"]
        del bare["status"]

        run = observe(bare, [])

        assert (run.active, run.occasion.scheduled, run.occasion.token) == (True, None, "")


def preparing(**state: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON value
    return [{"name": "prepare", "image": "shop/tool:1", "state": state}]


def test_a_container_that_ran_before_and_failed_says_why() -> None:
    ended = preparing(terminated={"exitCode": 3, "message": "no such bucket"})
    found = observe(
        job("Failed"), [pod(initContainerStatuses=ended, waiting={"reason": "PodInitializing"}, phase="Failed")]
    )

    assert (found.state, found.words, found.settled) == (RunState.FAILED, "exit code 3: no such bucket", True)


def test_a_container_that_ran_before_and_ended_well_says_nothing() -> None:
    ended = preparing(terminated={"exitCode": 0, "message": "done"})
    found = observe(job("Complete"), [pod(initContainerStatuses=ended, end={"exitCode": 0, "message": REPORT})])

    assert found.outcome is Outcome.CHANGED


def test_an_image_that_is_missing_before_the_work_is_told_too() -> None:
    waiting = preparing(waiting={"reason": "ImagePullBackOff", "message": "not found"})
    found = observe(job(), [pod(initContainerStatuses=waiting, waiting={"reason": "PodInitializing"})])

    assert found.trouble
    assert found.trouble.message == "shop/tool:1: not found"
