"""The container of a custom `job`: an allowlisted part of a Pod, so that what runs always passes `restricted`.

There is no raw Pod patch: every field here is one that cannot loosen the security of the final Pod.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.connections import SecretReference
from upkeep.actions.fields import LabelName, Model, ObjectName, OneOf
from upkeep.api.steps import BY_NAME, UNIQUE

Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i)?$")]
Text = Annotated[str, Field(max_length=8192)]

VARIABLE_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"


class KeyReference(Model):
    """One key of a Secret or ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
    """Key in it."""


class EnvironmentVariable(OneOf):
    """An environment variable of the container."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=VARIABLE_NAME)]
    """Its name."""
    value: Text | None = None
    """Its value, written here. Never a secret: anybody who may read the task may read it."""
    secret_key_ref: KeyReference | None = None
    """Its value, from a Secret."""
    config_map_key_ref: KeyReference | None = None
    """Its value, from a ConfigMap."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """Where the value comes from."""
        return ("value", "secretKeyRef", "configMapKeyRef")


class ConfigMapReference(Model):
    """A ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""


class ClaimReference(Model):
    """A PersistentVolumeClaim in the same namespace."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim."""


class EmptyDirectory(Model):
    """An empty directory that vanishes with the Pod."""

    size_limit: Quantity | None = None
    """How large it may grow, for example 1Gi."""


class Volume(OneOf):
    """A volume, mounted into the container."""

    name: LabelName
    """Its name, unique within the job."""
    mount_path: Annotated[str, Field(min_length=2, max_length=512, pattern=r"^/[^:]*$")]
    """Where it appears in the container."""
    read_only: bool = True
    """Whether the container may only read it."""
    config_map: ConfigMapReference | None = None
    """A ConfigMap as files, for example a script."""
    secret: SecretReference | None = None
    """A Secret as files."""
    persistent_volume_claim: ClaimReference | None = None
    """A PersistentVolumeClaim."""
    empty_dir: EmptyDirectory | None = None
    """An empty directory."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """What is mounted."""
        return ("configMap", "secret", "persistentVolumeClaim", "emptyDir")


class Resources(Model):
    """CPU and memory of the container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=4)] = Field(default_factory=dict)
    """What it is sure to get: cpu, memory, ephemeral-storage."""
    limits: Annotated[dict[str, Quantity], Field(max_length=4)] = Field(default_factory=dict)
    """What it may use at most: cpu, memory, ephemeral-storage."""


class PullPolicy(StrEnum):
    """When the image is pulled."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class CustomJob(Model):
    """Any other work: a container of your own."""

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")]
    """The image; by digest where it must not change."""
    image_pull_policy: PullPolicy | None = None
    """Always, IfNotPresent or Never; the cluster's default where left out."""
    image_pull_secrets: Annotated[list[SecretReference], Field(max_length=8)] = Field(default_factory=list)
    """Secrets for the registry."""
    command: Annotated[list[Text], Field(max_length=64)] = Field(default_factory=list)
    """The command; the image's own where left out. It is started as it is, not by a shell."""
    args: Annotated[list[Text], Field(max_length=256)] = Field(default_factory=list)
    """Its arguments."""
    env: Annotated[list[EnvironmentVariable], Field(max_length=128, json_schema_extra=BY_NAME), UNIQUE] = Field(
        default_factory=list
    )
    """Environment variables."""
    volumes: Annotated[list[Volume], Field(max_length=32, json_schema_extra=BY_NAME), UNIQUE] = Field(
        default_factory=list
    )
    """Volumes and where they are mounted."""
    working_dir: Annotated[str | None, Field(max_length=512, pattern=r"^/")] = None
    """Directory in which the command starts."""
    resources: Resources = Resources()
    """CPU and memory. Left out: 100m and 128Mi requested, at most 512Mi of memory."""
    run_as_user: Annotated[int | None, Field(ge=1, le=2147483647)] = None
    """User id, where the image's own is root or a name; never 0."""
