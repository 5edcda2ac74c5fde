"""A window that requires a verified backup opens as soon as one was verified, and not before."""

from typing import Final

from fakeapi.behaviours import Finish
from fakeapi.objects import Json
from replicas.replica import PATIENCE
from replicas.stage import REPORT, TEAM, Stage, in_seconds, resource
from replicas.windows import INGRESSES, WINDOW, open_window, swapped
from upkeep.domain.identity import SCHEDULE_ANNOTATION

POLICY: Final = "shop-db"
REQUIRED: Final = {"verifiedBackups": [{"name": POLICY, "maxAge": "1h"}]}
SPEC: Final = {
    "source": {"postgres": {"host": "db", "database": "shop", "secretRef": {"name": "db"}}},
    "repository": {"passwordSecretRef": {"name": "password"}, "volume": {"claimName": "backups"}},
    "schedules": [{"name": "daily", "schedule": "0 0 1 1 *"}],
    "verify": {"restoreTest": {"schedule": "0 0 1 1 *"}},
}
FAILED: Final = '{"outcome":"failed","message":"a table is gone"}'


def verified(backup: str) -> str:
    """What the Pod of a restore test says that was passed."""
    measured = '"metrics":{"restore_seconds":2.5,"age_seconds":60}'
    facts = f'"facts":{{"snapshot":"1a2b3c4d","snapshot_time":"{backup}"}}'
    step = f'{{"name":"restore-test","action":"backupRestoreTest","outcome":"ok",{measured},{facts}}}'
    return f'{{"outcome":"ok","message":"all came back","steps":[{step}]}}'


def restores_say(stage: Stage, report: str) -> None:
    """What the Pods of restore tests say from now on; all others end well."""

    def outcome(job: Json) -> tuple[int, str]:
        if job["metadata"]["annotations"].get(SCHEDULE_ANNOTATION) != "restore-test":
            return 0, REPORT
        return int(report == FAILED), report

    stage.cluster.world.jobs(Finish(outcome=outcome, running=0.05))


def ask(stage: Stage, token: str) -> None:
    annotations = {"upkeep.dev/run-now": f"restore-test/{token}"}
    stage.cluster.patch("BackupPolicy", TEAM, POLICY, {"metadata": {"annotations": annotations}})


def waits(stage: Stage) -> bool:
    occurrence = stage.status("MaintenanceWindow", WINDOW).get("occurrence", {})
    return bool(occurrence.get("waitingFor") == "BackupNotVerified")


def judged(stage: Stage, status: str) -> bool:
    return bool(stage.condition("BackupPolicy", POLICY, "Verified").get("status") == status)


async def test_it_waits_until_one_was_verified(stage: Stage) -> None:
    # given a window that is due, and a policy of which no backup was ever tested
    stage.cluster.create(resource("BackupPolicy", POLICY, SPEC))
    open_window(stage, requires=REQUIRED)
    await stage.household.operator()
    await stage.cluster.until(lambda: waits(stage), within=PATIENCE)
    assert swapped(stage) == set()
    # when a restore test fails
    restores_say(stage, FAILED)
    ask(stage, "1")
    await stage.cluster.until(lambda: judged(stage, "False"), within=PATIENCE)
    assert waits(stage)
    # and the next one passes
    restores_say(stage, verified(in_seconds(-60)))
    ask(stage, "2")
    # then it opens
    await stage.cluster.until(lambda: swapped(stage) == INGRESSES.keys(), within=PATIENCE)
    assert stage.status("BackupPolicy", POLICY)["lastVerified"]["snapshot"] == "1a2b3c4d"
