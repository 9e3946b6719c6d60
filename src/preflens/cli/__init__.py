"""The command line: one subcommand a file; each parses, calls one function, prints."""
