"""What a lab recording's manifest says beyond the captures: where it comes from, what is expected of it, which clock it was given."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from netlens.lab.topology import HOST_INSIDE_IP, HOST_IP, PROVIDER_IP, VM_IP

if TYPE_CHECKING:
    from netlens.lab.context import Context


def extra(context: Context, api_names: list[str]) -> dict[str, Any]:
    """The tables for :func:`netlens.capture.recording.write_manifest`."""
    scenario, seconds, seed, skew = context.scenario, context.seconds, context.seed, context.skew
    return {
        "command": f"sudo netlens lab run {scenario.name} --seconds {seconds:g} --seed {seed}",
        "made_at": datetime.now(UTC).replace(microsecond=0),
        "kernel": platform.release().partition("-")[0],
        "api": {"names": api_names, "addresses": [PROVIDER_IP], "port": 443},
        "addresses": {"vm": [VM_IP], "host": [HOST_IP, HOST_INSIDE_IP]},
        "lab": {
            "scenario": scenario.name,
            "title": scenario.title,
            "seconds": float(seconds),
            "seed": seed,
            "path": scenario.path["kind"],
            "exclude_api": scenario.path["exclude_api"],
            "http": scenario.provider["http"],
            "counts": scenario.concurrency["counts"] if scenario.concurrency else "nothing",
            **context.details,
            "clock": {"offset_s": float(skew.offset_s), "drift_ppm": float(skew.drift_ppm), "at_ns": skew.at_ns},
            "expect": asdict(scenario.expect) | {"causes": list(scenario.expect.causes)},
        },
    }
