"""The technician's command, one file a subcommand."""
