"""The gateway daemon. Floors F3-F5 are pure; F6 carries bytes, messages and records; F7 is `sirend` and `sirenctl`."""
