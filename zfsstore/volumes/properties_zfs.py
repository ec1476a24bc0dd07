"""Properties of volumes that are datasets."""

from __future__ import annotations

from collections.abc import Mapping

from modules.volumes import Volume
from zfsstore.volumes.properties import READ_ONLY, SETTABLE, check_chosen
from zfsstore.volumes.zfs_volume_calls import VolumeCalls, to_dict


class PropertyCalls(VolumeCalls):
    """Properties beside the quota."""

    def get_properties(self, uuid: str) -> dict[str, str]:
        """Return the properties that can be chosen, and some that cannot; sizes in bytes.

        What this version of ZFS does not know is left out.

        Raises:
            VolumeNotFound: no such volume.
        """
        found = self._lookup.need(uuid, "get properties of volume")
        names = (*SETTABLE, *READ_ONLY)
        (present,) = self._zfs.get([found.dataset], names)
        values = {name: present.properties[name].value for name in names}
        return {name: _normal(name, value) for name, value in values.items() if value != "-"}

    def set_properties(self, uuid: str, properties: Mapping[str, str]) -> Volume:
        """Change properties and return the volume; what is stored already keeps its recordsize.

        Raises:
            VolumeNotFound: no such volume.
            InvalidArgument: a property or value is wrong; nothing was changed.
            QuotaBelowUsage: a quota is less than what is in use.
            NoSpace: a reservation is more than the pool, or the tenant's quota, has left.
        """
        chosen = check_chosen(properties)
        with self._lookup.control("set properties of volume", uuid):
            found = self._lookup.need(uuid, "set properties of volume")
            if chosen:
                self._zfs.set(found.dataset, chosen)
            return to_dict(self._lookup.need(uuid, "set properties of volume"))


def _normal(name: str, value: str) -> str:
    """Return a value that was read as it would be set: no limit is "none", for which 0 stands."""
    rule = SETTABLE.get(name)
    return value if rule is None else rule.check(value) or value
