"""Check that every relative link and every anchor in the Markdown files leads somewhere.

usage: check_docs.py [FILE...]       (default: README.md, CHANGELOG.md, docs/, examples/, tools/)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
SKIPPED = {".venv", ".git", "build", "data", ".pytest_cache"}


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as the usual renderers make them."""
    found: dict[str, int] = {}
    result = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def problems(page: Path) -> Iterator[str]:
    """Yield what is wrong with the links of one page."""
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (page.parent / unquote(name)).resolve() if name else page
        if not goal.exists():
            yield f"{page.relative_to(ROOT)}: no such file: {target}"
        elif anchor and goal.suffix == ".md" and anchor not in anchors(goal.read_text("utf-8")):
            yield f"{page.relative_to(ROOT)}: no such heading: {target}"


def main() -> int:
    named = [Path(name).resolve() for name in sys.argv[1:]]
    pages = named or sorted(
        page for page in ROOT.rglob("*.md") if not SKIPPED & set(page.relative_to(ROOT).parts)
    )
    wrong = [problem for page in pages for problem in problems(page)]
    for problem in wrong:
        print(problem, file=sys.stderr)
    print(f"checked the links of {len(pages)} pages, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
