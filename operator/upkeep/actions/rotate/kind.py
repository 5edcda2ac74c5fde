"""What the kinds of credentials have in common, so that one course of steps does for all of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from upkeep.actions.rotate.record import Held, Record

Changes = Mapping[str, str | None]
"""Keys of the Secret and their new values; None removes a key."""


class Credential(ABC):
    """One kind of credential."""

    key: ClassVar[str]
    """Key in the Secret of the value that it gives out."""
    redeploys: ClassVar[bool]
    """Whether the workloads are restarted once more after the Secret has forgotten the old one."""

    @abstractmethod
    def alone(self) -> AbstractAsyncContextManager[None]:
        """Let no other run do anything as long as the block lasts; the calls below are made inside of it.

        Raises:
            ActionError: another run is at work.
        """

    @abstractmethod
    async def begin(self, held: Held) -> tuple[Record, Changes]:
        """The first record, and what is written with it, where all that has to hold does.

        Raises:
            ActionError: it does not; nothing was changed.
        """

    @abstractmethod
    async def prepared(self, held: Held, record: Record) -> tuple[str, Changes]:
        """Make the staged value good; why it does not work, or nothing; and what the Secret is to hold then."""

    @abstractmethod
    async def fault(self, held: Held) -> str:
        """Why what the Secret gives out does not work; empty where it does."""

    @abstractmethod
    async def way_back(self, held: Held) -> tuple[str, Changes]:
        """Why there is none, or nothing; and what the Secret has to hold to give out the old one."""

    @abstractmethod
    async def in_use(self, record: Record) -> str:
        """Who uses the old one, as far as that can be told; empty where nobody does."""

    @abstractmethod
    async def revoke(self, held: Held, record: Record) -> str:
        """Make the old one useless, as far as the Secret has no part in it; why it is good all the same, or nothing."""

    @abstractmethod
    async def still_good(self, value: str) -> str:
        """Why the old one is good all the same after the last restart; empty where it is not."""

    @abstractmethod
    async def give_up(self, record: Record) -> str:
        """Make the new one useless, after the way back; who uses it, or nothing."""

    @abstractmethod
    def forgotten(self, held: Held) -> Changes:
        """What the Secret holds once the old one is forgotten."""
