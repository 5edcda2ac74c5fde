"""People in the cluster of a test: a mail server and a web hook that write down all that they are told."""

import json
from dataclasses import dataclass
from typing import Final

import yaml

from cluster.installation import CHANNELS, NAMESPACE
from cluster.kubectl import Object
from cluster.manifests import pod, service
from cluster.server import SECRETS
from cluster.space import Space
from upkeep.cluster.resources import PODS

TOKEN: Final = "T0KEN-canary-59c1"  # noqa: S105 - made up, and looked for afterwards
_SCRIPT: Final = """
import asyncore, email, json, threading
import smtpd
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Hook(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(json.dumps({"channel": "ops-slack", "subject": body["title"], "body": body["message"]}), flush=True)
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_):
        pass

class Mail(smtpd.SMTPServer):
    def process_message(self, peer, sender, recipients, data, **_):
        mail = email.message_from_bytes(data)
        text = mail.get_payload(decode=True).decode()
        print(json.dumps({"channel": "team-mail", "subject": mail["Subject"], "body": text}), flush=True)

Mail(("0.0.0.0", 2525), None)
threading.Thread(target=asyncore.loop, daemon=True).start()
ThreadingHTTPServer(("0.0.0.0", 8080), Hook).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class People:
    """Who reads the channels `ops-slack` and `team-mail`."""

    space: Space

    def come(self, image: str) -> None:
        """Bring them up."""
        container = {
            "name": "people",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-W", "ignore", "-c", _SCRIPT],
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5},
        }
        self.space.make(service("hook", 8080, app="people"), service("mail", 2525, app="people"))
        self.space.make(pod("people", container))
        self.space.ready("people")

    def channels(self) -> Object:
        """The Secret that tells Upkeep of them."""
        place = f"{self.space.name}.svc"
        known = {
            "ops-slack": {"url": f"json://hook.{place}:8080/{TOKEN}", "namespaces": [self.space.name]},
            "team-mail": {
                "url": f"mailto://mail.{place}:2525?from=upkeep@example.com&to=shop-team@example.com&mode=insecure",
                "namespaces": [self.space.name],
            },
        }
        return {
            "apiVersion": "v1",
            "kind": SECRETS.kind,
            "metadata": {"name": CHANNELS, "namespace": NAMESPACE},
            "stringData": {"channels.yaml": yaml.safe_dump(known)},
        }

    def heard(self, channel: str, window: str) -> list[Object]:
        """What arrived on a channel about a window, oldest first."""
        lines = self.space.server.text(PODS.path(self.space.name, "people", "log")).splitlines()
        told = [json.loads(line) for line in lines]
        return [each for each in told if each["channel"] == channel and f"/{window} " in each["subject"]]

    def subjects(self, channel: str, window: str) -> list[str]:
        """What their subjects say of the window."""
        return [each["subject"].partition(f"/{window} ")[2] for each in self.heard(channel, window)]
