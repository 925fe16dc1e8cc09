"""The centre: which gateways there are, which order goes where, and what came of it."""
