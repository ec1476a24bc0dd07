"""The ``zfsstore`` command: one file a command group, all on top of the host's own services."""
