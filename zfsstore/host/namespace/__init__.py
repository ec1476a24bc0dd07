"""Keys to blobs: what a bucket holds, kept in a SQL database (see schema)."""
