"""The chapter in which the window opens: 200 → 503 with the page → 200, and the Ingress as it was."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import yaml

from demo.claims import Claims
from demo.cluster import ROOT, SHOP, Cluster
from lab.report import Report
from upkeep.domain.instants import write_instant
from upkeep.domain.maintenance import semantically_equal

WINDOW: Final = "tonight"
LEAD: Final = timedelta(seconds=12)
"""Long enough for the page's Pods to be ready when the window opens."""
_PATIENCE: Final = 240.0


def watch_opening(cluster: Cluster, claims: Claims, report: Report) -> None:
    """Open the sample's window in a few seconds, and look on from outside all the while."""
    before = cluster.get("ingress", "shop")
    cluster.apply(_window())
    report.say(f"  MaintenanceWindow {WINDOW} opens in {LEAD.seconds} s; looking at the shop through the Ingress…")
    seen = _look_on(cluster, report)
    codes = [code for code, _ in seen]
    claims.claim("users saw 200 → 503 → 200", holds=codes == [200, 503, 200], seen=" → ".join(map(str, codes)))
    page = seen[1][1]
    retry = int(page.headers.get("Retry-After", "0"))
    claims.claim("the page says when to come back", holds=0 < retry <= 600, seen=f"Retry-After: {retry}")
    title = "The shop is being looked after"
    claims.claim("people get the page", holds=title in page.text, seen=title)
    window = cluster.get("mw", WINDOW)
    run = window["status"]["lastRun"]
    claims.claim("the window completed and was verified", holds=run["outcome"] == "ok", seen=run["message"])
    after = claims.wait(
        "The Ingress is let go",
        lambda: cluster.get("ingress", "shop"),
        lambda ingress: "upkeep.dev/undo" not in ingress["metadata"].get("annotations", {}),
        seconds=10,
    )
    equal = semantically_equal(before, after)
    claims.claim("the Ingress is as it was before", holds=equal, seen="spec, labels and annotations compared")
    owners = {entry["manager"] for entry in after["metadata"].get("managedFields", [])}
    claims.claim(
        "and Upkeep owns nothing of it", holds=bool(owners) and "upkeep" not in owners, seen=", ".join(sorted(owners))
    )


def _window() -> dict[str, Any]:
    """The sample's window as a single one that opens in a few seconds."""
    sample = yaml.safe_load((ROOT / "manifests" / "samples" / "window-maintenance.yaml").read_text())
    spec = {key: value for key, value in sample["spec"].items() if key not in {"schedule", "exclusions"}}
    spec |= {"startAt": write_instant(datetime.now(UTC) + LEAD), "duration": "10m"}
    return {**sample, "metadata": {"name": WINDOW, "namespace": SHOP}, "spec": spec}


def _look_on(cluster: Cluster, report: Report) -> list[tuple[int, httpx.Response]]:
    """Every change of what a user gets, from the announcement until the window has closed."""
    seen: list[tuple[int, httpx.Response]] = []
    deadline = time.monotonic() + _PATIENCE
    phase = ""
    while time.monotonic() < deadline:
        answer = cluster.fetch()
        if not seen or seen[-1][0] != answer.status_code:
            seen.append((answer.status_code, answer))
            report.say(f"    {datetime.now(UTC):%H:%M:%S}  HTTP {answer.status_code}")
        elif "Retry-After" not in seen[-1][1].headers:
            # In the first moment Envoy itself may answer, until it has heard of the page's endpoints.
            seen[-1] = (answer.status_code, answer)
        now = cluster.get("mw", WINDOW).get("status", {}).get("phase", "")
        if now != phase:
            phase = now
            report.say(f"    {datetime.now(UTC):%H:%M:%S}  {phase}")
            for line in cluster.kubectl("get", "mw,mt,bp", "-n", SHOP).splitlines():
                report.say(f"      {line}")
        if phase in {"Completed", "Failed"} and answer.status_code == httpx.codes.OK:
            break
        time.sleep(0.25)
    return seen
