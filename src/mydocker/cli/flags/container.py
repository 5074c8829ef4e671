"""The flags that ``run`` and ``create`` share: their names, value syntaxes and help.

In scope: declaration. What they add up to is in ``config.py``. Flags of Docker that stand on something not
built yet are listed at the end, and refuse by name.
"""

from __future__ import annotations

from mydocker.cli.flags import host, limit, mount, network
from mydocker.cli.flags.environment import parse_env, parse_label
from mydocker.cli.flags.go import parse_duration, parse_int, parse_uint
from mydocker.cli.flags.image import content_trust, parse_policy
from mydocker.cli.flags.pflag import Flag, number, switch, text, unbuilt, value, values
from mydocker.cli.flags.size import parse_cpus, parse_size, parse_swap
from mydocker.container.config import RestartPolicy

DETACH_KEYS = text("detach-keys", "", "Override the key sequence for detaching a container")


def _parse_weight(given: str) -> int:
    return parse_uint(given, bits=16)


_WINDOWS = "it is about containers of Windows"


def _duration(name: str, help: str) -> Flag:
    return value(name, "", help, parse_duration, "duration", default=0)


RESTART = value("restart", "", "Restart policy to apply when a container exits (no|on-failure[:max-retries]|"
                "always|unless-stopped)", host.parse_restart, "string", default=RestartPolicy())  # fmt: skip

CONTAINER: tuple[Flag, ...] = (
    values("add-host", "", "Add a custom host-to-IP mapping (host:ip)", host.parse_extra_host),
    values("annotation", "", "Add an annotation to the container (passed to the OCI runtime)", kind="map"),
    values("attach", "a", "Attach to STDIN, STDOUT or STDERR", host.parse_stream),
    value("blkio-weight", "", "Block IO (relative weight), between 10 and 1000, or 0 to disable",
          _parse_weight, "uint16", default=0),
    values("blkio-weight-device", "", "Block IO weight (relative device weight)", limit.parse_weight_device),
    values("cap-add", "", "Add Linux capabilities"),
    values("cap-drop", "", "Drop Linux capabilities"),
    text("cgroup-parent", "", "Optional parent cgroup for the container"),
    text("cgroupns", "", "Cgroup namespace to use (host|private); by default private on v2, host on v1"),
    text("cidfile", "", "Write the container ID to the file"),
    number("cpu-period", "", "Limit CPU CFS (Completely Fair Scheduler) period"),
    number("cpu-quota", "", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    number("cpu-shares", "c", "CPU shares (relative weight)"),
    value("cpus", "", "Number of CPUs", parse_cpus, "decimal", default=0),
    text("cpuset-cpus", "", "CPUs in which to allow execution (0-3, 0,1)"),
    text("cpuset-mems", "", "MEMs in which to allow execution (0-3, 0,1)"),
    values("device", "", "Add a host device to the container"),
    values("device-cgroup-rule", "", "Add a rule to the cgroup allowed devices list", host.parse_device_rule),
    values("device-read-bps", "", "Limit read rate (B/s) from a device", limit.parse_throttle_bps),
    values("device-read-iops", "", "Limit read rate (IO/s) from a device", limit.parse_throttle_iops),
    values("device-write-bps", "", "Limit write rate (B/s) to a device", limit.parse_throttle_bps),
    values("device-write-iops", "", "Limit write rate (IO/s) to a device", limit.parse_throttle_iops),
    content_trust(),
    text("domainname", "", "Container NIS domain name"),
    values("egress", "", "The only places outside that it may talk to (none|HOST:PORT,...|CIDR,...)",
           network.parse_egress),
    value("entrypoint", "", "Overwrite the default ENTRYPOINT of the image", str, "string"),
    values("env", "e", "Set environment variables", parse_env),
    values("env-file", "", "Read in a file of environment variables"),
    values("expose", "", "Expose a port or a range of ports"),
    values("group-add", "", "Add additional groups to join"),
    text("health-cmd", "", "Command to run to check health"),
    _duration("health-interval", "Time between running the check (ms|s|m|h) (default 0s)"),
    text("health-on-failure", "", "What to do when it is found unhealthy (none|kill|restart|stop)"),
    number("health-retries", "", "Consecutive failures needed to report unhealthy"),
    _duration("health-start-interval", "Time between running the check during the start period (ms|s|m|h) "
              "(default 0s)"),
    _duration("health-start-period", "Start period for the container to initialize before starting "
              "health-retries countdown (ms|s|m|h) (default 0s)"),
    _duration("health-timeout", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
    text("hostname", "h", "Container host name"),
    value("init", "", "Run an init inside the container that forwards signals and reaps processes",
          switch("init", "", "").parse, "")._replace(implied="true"),
    switch("interactive", "i", "Keep STDIN open even if not attached"),
    text("ipc", "", "IPC mode to use"),
    values("label", "l", "Set meta data on a container", parse_label),
    values("label-file", "", "Read in a line delimited file of labels"),
    values("link", "", "Add link to another container", network.parse_link),
    text("log-driver", "", "Logging driver for the container"),
    values("log-opt", "", "Log driver options"),
    value("memory", "m", "Memory limit", parse_size, "bytes", default=0),
    value("memory-reservation", "", "Memory soft limit", parse_size, "bytes", default=0),
    value("memory-swap", "", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
          parse_swap, "bytes", default=0),
    value("memory-swappiness", "", "Tune container memory swappiness (0 to 100)",
          host.parse_memory_swappiness, "int", default=-1),
    values("mount", "", "Attach a filesystem mount to the container", mount.parse_mount, "mount"),
    text("name", "", "Assign a name to the container"),
    text("mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    values("network", "", "Connect a container to a network", network.parse_network, "network"),
    values("net", "", "", network.parse_network, "network"),
    values("network-opt", "", "How it is in its first network (rate-in=RATE,rate-out=RATE, as 10mbit)",
           network.parse_options),
    values("network-alias", "", "Add network-scoped alias for the container"),
    values("net-alias", "", ""),
    text("ip", "", "IPv4 address (e.g., 172.30.100.104)"),
    text("ip6", "", "IPv6 address (e.g., 2001:db8::33)"),
    values("dns", "", "Set custom DNS servers", network.parse_address),
    values("dns-option", "", "Set DNS options"),
    values("dns-opt", "", ""),
    values("dns-search", "", "Set custom DNS search domains"),
    values("publish", "p", "Publish a container's port(s) to the host", network.parse_publish),
    switch("publish-all", "P", "Publish all exposed ports to random ports"),
    switch("no-healthcheck", "", "Disable any container-specified HEALTHCHECK"),
    switch("oom-kill-disable", "", "Disable OOM Killer"),
    number("oom-score-adj", "", "Tune host's OOM preferences (-1000 to 1000)"),
    text("pid", "", "PID namespace to use"),
    number("pids-limit", "", "Tune container pids limit (set -1 for unlimited)"),
    text("platform", "", "Set platform if server is multi-platform capable"),
    switch("privileged", "", "Give extended privileges to this container"),
    value("pull", "", 'Pull image before creating ("always", "missing", "never")', parse_policy, "string",
          default="missing"),
    switch("quiet", "q", "Suppress the pull output"),
    switch("read-only", "", "Mount the container's root filesystem as read only"),
    switch("rm", "", "Automatically remove the container and its associated anonymous volumes when it exits"),
    RESTART,
    text("rootfs", "", "Run from this directory, beneath an overlay, without image", kind="directory"),
    values("security-opt", "", "Security Options"),
    value("shm-size", "", "Size of /dev/shm", parse_size, "bytes", default=0),
    text("stop-signal", "", "Signal to stop the container"),
    value("stop-timeout", "", "Timeout (in seconds) to stop a container", parse_int, "int"),
    number("timeout", "", "Stop the container after so many seconds, 0 for never"),
    values("sysctl", "", "Sysctl options", limit.parse_sysctl, "map"),
    values("tmpfs", "", "Mount a tmpfs directory", mount.parse_tmpfs),
    switch("tty", "t", "Allocate a pseudo-TTY"),
    values("ulimit", "", "Ulimit options", limit.parse_ulimit, "ulimit"),
    text("user", "u", "Username or UID (format: <name|uid>[:<group|gid>])"),
    text("userns", "", "User namespace to use"),
    text("uts", "", "UTS namespace to use"),
    values("volume", "v", "Bind mount a volume", mount.parse_volume),
    text("volume-driver", "", "Optional volume driver for the container"),
    values("volumes-from", "", "Mount volumes from the specified container(s)"),
    text("workdir", "w", "Working directory inside the container"),
)  # fmt: skip

RUN: tuple[Flag, ...] = (
    switch("detach", "d", "Run container in background and print container ID"),
    DETACH_KEYS,
    switch("explain", "", "Print each step of making the container, with what the kernel shows after it"),
    switch("sig-proxy", "", "Proxy received signals to the process", default=True),
)

REFUSED: tuple[Flag, ...] = (
    unbuilt("link-local-ip", "containers have no link-local addresses"),
    unbuilt("storage-opt", "the size of a container's layer is not limited"),
    unbuilt("gpus", "there are no device requests (use --device)"),
    unbuilt("runtime", "there is one runtime, mydocker's own"),
    unbuilt("cpu-rt-period", "real-time scheduling is not limited (use --ulimit rtprio)"),
    unbuilt("cpu-rt-runtime", "real-time scheduling is not limited (use --ulimit rtprio)"),
    *(unbuilt(name, _WINDOWS) for name in (
        "cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops", "isolation")),
    unbuilt("use-api-socket", "there is no API socket to mount", switch=True),
    unbuilt("kernel-memory", "kernels since 5.4 count it as part of --memory"),
)  # fmt: skip
