"""S3Storage: objects in any S3 service, through boto3 (extra ``s3``)."""

from zfsstore.s3store.storage import S3Storage

__all__ = ["S3Storage"]
