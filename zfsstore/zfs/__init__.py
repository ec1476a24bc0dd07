"""The zfs command: names, the runner seam, argv and parsing, errors."""
