"""Crashes on purpose: clients of known behaviour, a cut at a random moment, and a judge.

``python -m tools.powercut`` cuts the power of a virtual machine that runs the store on ZFS;
``tests/powercut`` kills worker processes. docs/durability.md says what is promised and shown.
"""
