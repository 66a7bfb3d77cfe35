"""What a benchmark found: one row for each speed, and the file that keeps them."""

import json
import os
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch

from llama_mini.doctor import versions


@dataclass(frozen=True)
class Row:
    """One measured speed, and the most that the machine's ceilings allow, in the same unit, if known."""

    name: str
    value: float
    unit: str
    ceiling: float | None = None

    def __str__(self) -> str:
        digits = 1 if self.value >= 10 else 3
        line = f"{self.name:<36}{self.value:>12,.{digits}f} {self.unit}"
        if self.ceiling is None:
            return line
        return f"{line}, {self.value / self.ceiling:.0%} of {self.ceiling:,.{digits}f}"


def device_name(device: str) -> str:
    """The accelerator's own name, or cpu."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def write_report(rows: list[Row], device: str, folder: Path) -> Path:
    """Write the rows to folder/<device>.json, with date, versions and load: others' work slows ours."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{device_name(device).lower().replace(' ', '-')}.json"
    report = {
        "device": device_name(device),
        "date": date.today().isoformat(),
        "versions": versions(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return path
