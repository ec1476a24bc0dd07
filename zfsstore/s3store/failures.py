"""From what boto3 raises to modules.errors: one clear error for each way to fail.

No text of the service's own is taken over, only its error code: what it quotes is not known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from modules.errors import (
    ConfigurationError,
    IntegrityError,
    NoSpace,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    StorageError,
    SubstrateError,
    Unavailable,
)

RAISED: Final = (boto.ClientError, boto.BotoCoreError, HTTPError)
"""All that a call of a client, or reading an answer's body, raises for a failure."""

_CODE: Final = re.compile(r"[A-Za-z0-9.:_-]{1,64}")

_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_WRONG_CREDENTIALS: Final = frozenset(
    {
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity"),
        *("UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure", "NotSignedUp"),
        *("AccountProblem", "InvalidAccessPoint", "InvalidSignature"),
    }
)
_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_REGION: Final = frozenset(
    {
        *("AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "Redirect"),
        *("IllegalLocationConstraintException", "301", "307"),
    }
)
_CORRUPTED: Final = frozenset(
    {
        *("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"),
        *("XAmzContentChecksumMismatch", "ChecksumMismatch", "InvalidPart"),
    }
)
_OVERLOADED: Final = frozenset(
    {
        *("SlowDown", "ServiceUnavailable", "RequestTimeout", "Throttling", "ThrottlingException"),
        *("TooManyRequests", "RequestLimitExceeded", "503", "429", "SlowDownRead", "SlowDownWrite"),
    }
)
_QUOTA: Final = frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded"})
_FULL: Final = frozenset({"XMinioStorageFull", "InsufficientStorage", "507"})
_NO_CREDENTIALS: Final = (boto.NoCredentialsError, boto.PartialCredentialsError)
_NOT_RENEWED: Final = (
    *(boto.CredentialRetrievalError, boto.TokenRetrievalError, boto.MetadataRetrievalError),
    *(boto.SSOError, boto.RefreshWithMFAUnsupportedError),
    getattr(boto, "LoginError", boto.SSOError),  # of `aws login`; older boto3 has none
)


@contextmanager
def translated(*, operation: str, subject: str) -> Iterator[None]:
    """Turn what boto3 raises inside the block into a StorageError."""
    try:
        yield
    except RAISED as error:
        raise storage_error(error, operation=operation, subject=subject) from error


def storage_error(error: Exception, *, operation: str, subject: str) -> StorageError:
    """Return the StorageError for *error*, to be raised ``from`` it.

    Args:
        operation: what was attempted, as a verb phrase.
        subject: on what: a module_data or a tenant.
    """
    if isinstance(error, boto.ClientError):
        made = _of_answer(error_code(error), _status(error))
    else:
        made = _of_connection(error)
    made.operation, made.subject = operation, subject
    return made


def error_code(error: boto.ClientError) -> str:
    """Return the service's code for an error, such as "NoSuchKey"; of HEAD the HTTP status."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if _CODE.fullmatch(code) else "Unknown"


def is_absent(error: boto.ClientError) -> bool:
    """Tell whether the object does not exist; a missing bucket is another matter."""
    return error_code(error) in ("NoSuchKey", "NoSuchVersion", "404", "NotFound")


def _status(error: boto.ClientError) -> int:
    status: Any = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status if isinstance(status, int) else 0


def _of_answer(code: str, status: int) -> StorageError:
    """Return the error for an answer of the service."""
    for codes, make in _BY_CODE:
        if code in codes:
            return make(code)
    if code in ("NoSuchKey", "NoSuchVersion", "NotFound", "404"):
        return ObjectNotFound("the bucket has no such object", hint=None)
    if status == 416 or code == "InvalidRange":
        return IntegrityError(
            "the object in the bucket is shorter than what was put",
            hint="restore it from a copy of the bucket",
        )
    if status == 412 or code == "PreconditionFailed":
        return IntegrityError("somebody replaced the object in the bucket", hint=_ALONE)
    if status in (401, 403):
        return PermissionDenied(
            f"the S3 service does not allow it ({code})",
            permission="s3:GetObject, PutObject, DeleteObject, ListBucket, AbortMultipartUpload, "
            "ListMultipartUploadParts, ListBucketMultipartUploads",
            hint="allow this user these actions on the bucket and on the keys below the prefix",
        )
    if status >= 500 or code == "InternalError":
        return Unavailable(
            f"the S3 service failed ({code}, HTTP status {status})",
            hint="try again; if it stays, look at the service's log",
        )
    return SubstrateError(f"the S3 service refused it ({code}, HTTP status {status})")


def _of_connection(error: Exception) -> StorageError:
    """Return the error for a failure on the way to the service, or before."""
    if isinstance(error, _NO_CREDENTIALS):
        return ConfigurationError(
            "no credentials for the S3 service were found",
            field="credentials",
            hint="give the argument credentials, or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY; see docs/s3.md",
        )
    if isinstance(error, _NOT_RENEWED):
        return PermissionDenied(
            f"boto3 could not get or renew the credentials ({type(error).__name__})",
            permission="valid credentials",
            hint="log in again, or check the profile and what it gets credentials from",
        )
    if isinstance(error, boto.ConnectTimeoutError):
        return Unavailable(
            "the S3 service did not accept a connection in time",
            hint="check endpoint_url, network and firewall; connect_timeout_s is the limit",
        )
    if isinstance(error, boto.ReadTimeoutError):
        return Unavailable(
            "the S3 service did not answer in time",
            hint="try again; read_timeout_s is the limit",
        )
    if isinstance(error, boto.SSLError):
        return Unavailable(
            "TLS with the S3 service failed",
            hint="check its certificate, ca_file, and whether endpoint_url should be http",
        )
    if isinstance(error, boto.EndpointConnectionError | boto.ProxyConnectionError):
        return Unavailable(
            "the S3 service cannot be reached",
            hint="check endpoint_url, name resolution and network, and that the service runs",
        )
    if isinstance(error, boto.HTTPClientError | boto.IncompleteReadError | HTTPError):
        return Unavailable(
            "the connection to the S3 service was cut", hint="try again; check the network"
        )
    if isinstance(error, boto.NoRegionError):
        return ConfigurationError("no region is known", field="region", hint="give the argument")
    return SubstrateError(f"boto3 failed ({type(error).__name__})")


def _no_bucket(code: str) -> StorageError:
    return ConfigurationError(
        "there is no such bucket in the S3 service",
        field="bucket",
        hint="create it; check bucket, region and endpoint_url",
    )


def _wrong_region(code: str) -> StorageError:
    return ConfigurationError(
        f"the bucket is in another region, or at another endpoint ({code})",
        field="region",
        hint="check region and endpoint_url",
    )


def _wrong_credentials(code: str) -> StorageError:
    return PermissionDenied(
        f"the S3 service does not accept the credentials ({code})",
        permission="valid credentials",
        hint="check access key id and secret access key, and that they are of this service",
    )


def _expired(code: str) -> StorageError:
    return PermissionDenied(
        f"the credentials for the S3 service have expired ({code})",
        permission="valid credentials",
        hint="renew them; a file of credentials is read again when it changes",
    )


def _clock(code: str) -> StorageError:
    return PermissionDenied(
        f"the clocks of this machine and of the S3 service differ ({code})",
        permission="a right clock",
        hint="set the clock of this machine",
    )


def _corrupted(code: str) -> StorageError:
    return IntegrityError(
        f"the bytes that arrived at the S3 service were not those that were sent ({code})",
        hint="send the object again; check network and memory of this machine",
    )


def _overloaded(code: str) -> StorageError:
    return Unavailable(
        f"the S3 service is overloaded ({code})", hint="try again later, or with fewer requests"
    )


def _quota(code: str) -> StorageError:
    return QuotaExceeded(
        f"the S3 service's quota is used up ({code})", hint="delete objects or raise the quota"
    )


def _full(code: str) -> StorageError:
    return NoSpace(f"the S3 service has no space left ({code})", hint="add space to it")


def _upload_gone(code: str) -> StorageError:
    return Unavailable(
        "somebody aborted the multipart upload", hint="send the object again; check lifecycle rules"
    )


_ALONE: Final = "nobody else may write below the prefix"
_BY_CODE: Final[tuple[tuple[frozenset[str], Callable[[str], StorageError]], ...]] = (
    (frozenset({"NoSuchBucket"}), _no_bucket),
    (frozenset({"NoSuchUpload"}), _upload_gone),
    (_EXPIRED, _expired),
    (_WRONG_CREDENTIALS, _wrong_credentials),
    (_CLOCK, _clock),
    (_REGION, _wrong_region),
    (_CORRUPTED, _corrupted),
    (_OVERLOADED, _overloaded),
    (_QUOTA, _quota),
    (_FULL, _full),
)
