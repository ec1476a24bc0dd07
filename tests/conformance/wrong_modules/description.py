"""Modules that are wrong about arguments, statistics, capabilities or contexts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modules.context import Context
from modules.errors import InvalidArgument
from modules.streams import SupportsRead
from simple.simple import SimpleStorage


class TakesAnything(SimpleStorage):
    breaks = "module.arguments"

    def __init__(self, storage_dir: str, **options: Any) -> None:
        super().__init__(storage_dir)


class NoUsed(SimpleStorage):
    breaks = "statistics.shape"

    def statistics(self, context: Context) -> dict[str, Any]:
        statistics = super().statistics(context)
        del statistics["capacity"]["used"]
        return statistics


class MinusOne(SimpleStorage):
    """Says -1 for what it does not know."""

    breaks = "statistics.values"

    def statistics(self, context: Context) -> dict[str, Any]:
        return {"capacity": {"total": -1, "free": -1, "used": -1}}


class CapabilitiesAreASet(SimpleStorage):
    breaks = "capabilities.json"

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return {"encryption": {"AES"}}


class InventsACapability(SimpleStorage):
    breaks = "capabilities.cdmi"

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return {"cdmi_quota": "true"}


class NumbersInCapabilities(SimpleStorage):
    breaks = "capabilities.cdmi"

    def capabilities(self, context: Context) -> Mapping[str, Any]:
        return {"cdmi_data_redundancy": 3}


class NeedsATenant(SimpleStorage):
    breaks = "context.bare"

    def put(self, context: Context, stream: SupportsRead) -> str:
        context["tenant"]
        return super().put(context, stream)


class StrictContext(SimpleStorage):
    breaks = "context.unknown-keys"

    def put(self, context: Context, stream: SupportsRead) -> str:
        known = {"func", "tenant", "volume_id", "key_domain", "request_id", "content_length"}
        if set(context) - known:
            raise InvalidArgument("unknown", field="context")
        return super().put(context, stream)


class WritesIntoTheContext(SimpleStorage):
    breaks = "context.unchanged"

    def put(self, context: Any, stream: SupportsRead) -> str:
        context["last"] = super().put(context, stream)
        return str(context["last"])


class MoreThanThereIs(SimpleStorage):
    """Counts what is free as used, too."""

    breaks = "statistics.values"

    def statistics(self, context: Context) -> dict[str, Any]:
        return {"capacity": {"total": 1000, "free": 600, "used": 1000}}
