"""bin/admin: what an administrator of the cluster does."""
