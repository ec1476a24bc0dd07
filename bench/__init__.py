"""How fast the store is, as a ratio to the fastest correct raw recipe in the same run.

``python -m bench --help`` says how to run it, docs/performance.md what came out.
"""
