"""The smallest wrapper: keeps the bytes as they are, and prefixes the inner module_data."""

from __future__ import annotations

from modules.context import Context
from modules.errors import InvalidModuleData
from modules.streams import ReadStream, SupportsRead
from modules.wrappers import Wrapper


class PlainWrapper(Wrapper):
    """Stores through *inner*, unchanged."""

    binds_to_domain = True

    def put(self, context: Context, stream: SupportsRead) -> str:
        return f"p:{self.inner(context).put(context, stream)}"

    def get_read_stream(self, context: Context, module_data: str) -> ReadStream:
        inner_data = self._inner_data(module_data)
        return self.inner(context).get_read_stream(context, inner_data)

    def _inner_data(self, module_data: str) -> str:
        if not module_data.startswith("p:"):
            raise InvalidModuleData("not one of this wrapper's", subject=repr(module_data[:80]))
        return module_data[2:]
