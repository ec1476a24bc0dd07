"""zfsstore-agent: the privileged helper that runs zfs for an unprivileged host; docs/agent.md.

The host's side is :class:`zfsstore.agent.client.AgentRunner`, a runner like any other. It sends
the argv of the typed client. The agent parses them with a strict grammar into typed operations
(:mod:`~zfsstore.agent.grammar`), refuses what is not within its scope
(:mod:`~zfsstore.agent.scope`), and builds the argv that it runs anew
(:mod:`~zfsstore.agent.work`). Mounting is done on descriptors (:mod:`~zfsstore.agent.mounts`).
"""
