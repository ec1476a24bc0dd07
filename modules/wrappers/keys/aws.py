"""Root key in AWS KMS: the key itself never leaves it. Needs boto3 (extra ``s3``)."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from modules.errors import KeyNotFound, PermissionDenied, StorageError, Unavailable, WrongKey
from modules.wrappers.keys.records import KEY_BYTES

_CONTEXT: Final = "zfsstore-tenant-key"
_DENIED: Final = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
    }
)
_GONE: Final = frozenset({"NotFoundException", "DisabledException", "KMSInvalidStateException"})


class KmsRootKeys:
    """Wraps with one KMS key; credentials are those boto3 finds.

    KMS rotates the material of a key by itself and unwraps what older material wrapped.

    Args:
        key_id: id, ARN or alias of a symmetric KMS key.
        client: a boto3 ``kms`` client.
    """

    def __init__(self, key_id: str, client: Any) -> None:
        self._key_id = key_id
        self._client = client

    def current(self) -> str:
        """Return the id of the root key."""
        return f"kms:{self._key_id}"

    def wrap(self, key: bytes, binding: bytes) -> tuple[str, bytes]:
        """Let KMS wrap a key, bound to *binding* by its encryption context."""
        answer = self._call(
            "encrypt", KeyId=self._key_id, Plaintext=key, EncryptionContext=_context(binding)
        )
        return self.current(), bytes(answer["CiphertextBlob"])

    def unwrap(self, root: str, wrapped: bytes, binding: bytes) -> bytes:
        """Let KMS unwrap a key."""
        if not root.startswith("kms:"):
            raise KeyNotFound(f"AWS KMS has no root key {root}", operation="unwrap tenant key")
        answer = self._call(
            "decrypt",
            KeyId=root.removeprefix("kms:"),
            CiphertextBlob=wrapped,
            EncryptionContext=_context(binding),
        )
        key = bytes(answer["Plaintext"])
        if len(key) != KEY_BYTES:
            raise WrongKey("AWS KMS returned no tenant key", operation="unwrap tenant key")
        return key

    def forget(self) -> None:
        """Do nothing: no key is kept."""

    def _call(self, operation: str, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, operation)(**arguments)
        except ClientError as error:
            raise _translated(error.response.get("Error", {}), operation) from error
        except BotoCoreError as error:
            raise Unavailable(
                f"AWS KMS cannot be used: {error}",
                operation=f"{operation} a tenant key",
                hint="check network, region and credentials",
            ) from error


def kms_root_keys(
    key_id: str, *, region: str | None, endpoint_url: str | None, timeout_s: float
) -> KmsRootKeys:
    """Return the root key *key_id* of AWS KMS, with a client made from boto3's defaults.

    Raises:
        ConfigurationError: boto3 is not installed, or it knows no region.
    """
    from modules.errors import ConfigurationError

    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise ConfigurationError(
            "boto3 is not installed", field="keys.root", hint="pip install 'zfsstore[s3]'"
        ) from error
    config = Config(
        connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 3}
    )
    try:
        client = boto3.session.Session().client(
            "kms", region_name=region, endpoint_url=endpoint_url, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(
            f"AWS KMS cannot be used: {error}", field="keys.root.region"
        ) from error
    return KmsRootKeys(key_id, client)


def _context(binding: bytes) -> dict[str, str]:
    return {_CONTEXT: hashlib.sha256(binding).hexdigest()}


def _translated(error: dict[str, Any], operation: str) -> StorageError:
    code, attempted = str(error.get("Code", "")), f"{operation} a tenant key"
    if code in _GONE:
        return KeyNotFound(
            f"AWS KMS has no usable root key of this id ({code})",
            operation=attempted,
            hint="check its id, state and region",
        )
    if code in ("InvalidCiphertextException", "IncorrectKeyException"):
        return WrongKey(
            "AWS KMS does not open it: another root key, or the key table was altered",
            operation=attempted,
        )
    if code in _DENIED:
        return PermissionDenied(
            f"AWS KMS refuses these credentials ({code})",
            permission=f"kms:{operation.capitalize()}",
            operation=attempted,
            hint="renew them, or allow this in the key's policy",
        )
    return Unavailable(f"AWS KMS answered {code or 'an error'}", operation=attempted)
