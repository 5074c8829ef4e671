"""The process beside each container: standard streams, log, added processes, control socket."""
