"""Opening a store: are the arguments right, and is the root volume there."""

from __future__ import annotations

import os

from modules.durable import make_directories
from modules.errors import ConfigurationError
from zfsstore import layout
from zfsstore.agent.client import AgentRunner
from zfsstore.agent.protocol import DEFAULT_SOCKET
from zfsstore.layout import VolumeRecord
from zfsstore.volumes.common import control_lock, new_uuid
from zfsstore.zfs.seam import Runner


def check_arguments(
    dataset: object, directory: object, instance: object, headroom_bytes: object
) -> None:
    """Make sure that a store can be meant.

    Raises:
        ConfigurationError: ``field`` names the argument that is wrong.
    """
    if (dataset is None) == (directory is None):
        raise ConfigurationError(
            "give exactly one of dataset and directory",
            field="dataset",
            hint='as in {"dataset": "tank/objects"} or {"directory": "/srv/objects"}',
        )
    if dataset is None and not (isinstance(directory, str | os.PathLike) and str(directory)):
        raise ConfigurationError("must be the path of a directory", field="directory")
    if "\0" in str(directory):
        raise ConfigurationError("must not hold NUL", field="directory")
    if not isinstance(instance, str) or not layout.INSTANCE.fullmatch(instance):
        raise ConfigurationError(
            "must be 1 to 32 of a-z, 0-9, _ and -, and start with a letter or digit",
            field="instance",
        )
    if type(headroom_bytes) is not int or headroom_bytes < 0:
        raise ConfigurationError("must be a number of bytes, 0 or more", field="headroom_bytes")


def choose_runner(dataset: object, agent: object, runner: Runner | None) -> Runner | None:
    """Return how to run zfs commands: through an agent, or as *runner* does.

    Raises:
        ConfigurationError: there is no dataset, both are given, or the socket is no path.
    """
    if agent is None:
        return runner
    if dataset is None or runner is not None:
        reason = "it serves a dataset, and is given without a runner"
        raise ConfigurationError(reason, field="agent")
    if not isinstance(agent, str) or not agent.startswith("/") or "\0" in agent:
        raise ConfigurationError(
            "must be the absolute path of the agent's socket",
            field="agent",
            hint=f'as in {{"agent": "{DEFAULT_SOCKET}"}}',
        )
    return AgentRunner(agent)


def create_root_volume(root: str, instance: str) -> None:
    """Create what the root volume holds, unless it is there; several processes may start at once.

    Raises:
        ConfigurationError: the file system refuses.
    """
    try:
        for directory in (layout.FENCES, layout.ENCRYPTED):
            make_directories(f"{root}/{directory}", mode=0o700)
        if os.path.exists(f"{root}/{layout.VOLUME_FILE}"):
            return
        with control_lock(root):
            if not os.path.exists(f"{root}/{layout.VOLUME_FILE}"):
                layout.create_layout(root, instance=instance)
                record = VolumeRecord(layout.new_key_domain(), new_uuid(), "")
                layout.write_volume_file(root, record)
    except OSError as error:
        raise ConfigurationError(
            f"{error.strerror or error}: {root}",
            field="directory",
            operation="open store",
            subject=root,
            hint="check owner, mode and free space",
        ) from error
