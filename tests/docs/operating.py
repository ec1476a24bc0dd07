"""What an operator sees who types the README's half hour, on any substrate."""

from __future__ import annotations

from tests.docs.reading import Reader


def half_hour(reader: Reader) -> None:
    """Type all of it but the export, and look at what is printed."""
    printed = reader.types("tenant")
    assert "created tenant acme\n" in printed
    assert "created user alice of tenant acme\n" in printed

    printed = reader.types("snapshot")
    assert "created snapshot acme/photos@monday\n" in printed
    assert printed.endswith("the first draft\nthe second draft\n")

    printed = reader.types("fork")
    assert "created acme/fork from acme/photos@monday\n" in printed
    assert "promoted acme/fork; made acme/photos a clone of it\n" in printed
    rows = {line.split()[0]: line.split() for line in printed.splitlines()[-3:]}
    assert {"acme", "acme/fork", "acme/photos"} == set(rows)
    assert "acme/fork@monday" == rows["acme/photos"][-1]
    assert reader.run('curl -s -u "$ALICE" $URL/fork/plan.txt') == "another draft\n"
    assert reader.run('curl -s -u "$ALICE" $URL/photos/plan.txt') == "the second draft\n"
    assert reader.run('curl -s -u "$ALICE" "$URL/fork/plan.txt?snapshot=monday"') == (
        "the first draft\n"
    )

    printed = reader.types("rollback")
    assert printed.endswith("rolled back acme/photos to before\nthe second draft\n")
