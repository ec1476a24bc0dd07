"""Secrets stay inside."""

from __future__ import annotations

from zfsstore.host.redaction import REDACTED, holds_redacted, redact, scrub

ARGS = {
    "endpoint": "https://user:hunter22@s3.example/",
    "access_key": "AKIA-access",
    "secretAccessKey": "s3cr3t-value",
    "nested": {"db_password": "hunter2!", "list": [{"token": "t0ken-value", "size": 3}]},
    "credentials": {"a": "inner-value"},
    "key_domain": "shown",
    "monkey": "shown too",
    "keyring_size": 5,
    "api_key": "",
    "inner": "default",
}


def test_secrets_are_redacted_at_any_depth() -> None:
    shown = redact(ARGS)
    assert shown == {
        "endpoint": f"https://user:{REDACTED}@s3.example/",
        "access_key": REDACTED,
        "secretAccessKey": REDACTED,
        "nested": {"db_password": REDACTED, "list": [{"token": REDACTED, "size": 3}]},
        "credentials": REDACTED,
        "key_domain": "shown",
        "monkey": REDACTED,  # rather one too many
        "keyring_size": 5,
        "api_key": "",
        "inner": "default",
    }
    assert holds_redacted(shown)
    assert not holds_redacted(ARGS)


def test_errors_are_scrubbed() -> None:
    text = scrub("cannot log in with s3cr3t-value and inner-value at hunter22", ARGS)
    assert text == f"cannot log in with {REDACTED} and {REDACTED} at {REDACTED}"


def test_where_keys_are_is_hidden_but_not_scrubbed() -> None:
    args = {"inner": "default", "keys": {"table": "/srv/keys.db", "root": {"provider": "file"}}}
    assert redact(args) == {"inner": "default", "keys": "(redacted)"}
    assert scrub("cannot open key table /srv/keys.db", args) == "cannot open key table /srv/keys.db"
