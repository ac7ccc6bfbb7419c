"""The mechanisms of the steps: each resolves its option in the launcher, and is used in the daemon."""
