"""Shows what runs, for a person. It must never change anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from lab.access import connect
from lab.failure import LabError
from lab.process import alive, records

if TYPE_CHECKING:
    from lab.home import Home


def show(home: Home) -> bool:
    """Print the cluster and its processes; return whether the cluster can be used and every process runs."""
    console = Console(soft_wrap=True)
    usable = True
    try:
        access = connect(home)
    except LabError as error:
        console.print(str(error), markup=False)
        usable = False
    else:
        console.print(f"Context     {access.context}", highlight=False)
        console.print(f"Kubeconfig  {access.kubeconfig}", highlight=False)
        console.print(f"Images      {access.image}, {access.shop_image}", highlight=False)
        console.print(f"Ingresses   {access.ingress_url or 'not served'}", highlight=False)
    known = records(home)
    if not known:
        return usable
    console.print(f"Logs        {home.logs}", highlight=False)
    table = Table("Component", "Runs", "Pid", "Memory", box=None)
    for record in known:
        runs = alive(record)
        usable &= runs
        memory = f"{resident(record.pid) / 2**20:.0f} MiB" if runs else ""
        table.add_row(record.name, "yes" if runs else "NO", str(record.pid), memory)
    console.print(table)
    return usable


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    kibibytes = next((line.split()[1] for line in lines if line.startswith("VmRSS:")), "0")
    return int(kibibytes) * 1024
