"""Volumes on both substrates: ZFS datasets and plain directories."""
