"""A stand-in for the command `multipass`: its command line, its JSON, its refusals, over lab machines or over nothing.

It is strict: what Multipass would refuse it refuses, with the words and exit codes of Multipass' sources
(canonical/multipass, src/client/cli/cmd and src/daemon, 1.13 to 1.16). `bed.Stub` installs it and says how it behaves.
"""
